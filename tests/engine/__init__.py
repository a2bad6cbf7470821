"""A private Docker Engine with stand-ins for the official images, for machines without Docker or Docker Hub.

engine.mk runs it in the folder tests/: `python3 -m engine start [--nodes N] [FOLDER ...] | stop | clean`. It installs nothing.
"""

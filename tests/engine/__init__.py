"""A private Docker Engine with stand-ins for the official images, for machines that have neither Docker nor Docker Hub.

Run by engine.mk: `python3 -m engine start [--nodes N] [FOLDER ...] | stop | clean`, in the folder tests/. Nothing is installed.
"""

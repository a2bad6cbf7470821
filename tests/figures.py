"""What the tests in faults/ and swarm/ measure. conftest.py prints it at the end of the run."""

FIGURES = []


def figure(fault, text):
    """Record a measurement. pytest prints all of them at the end of the run."""
    FIGURES.append(f"{fault}: {text}")

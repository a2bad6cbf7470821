"""Where settings.py and init.py get their values from: one function, so that there is one place to change."""

import os


def get_config(key: str) -> str:
    """Return the value of a key from the environment, which Compose fills from secrets.txt.

    Raises KeyError, naming the key, where it is missing or empty.
    """
    value = os.getenv(key)
    if not value:
        raise KeyError(f"{key} is missing or empty: set it in secrets/secrets.txt")
    return value

"""Where settings.py and init.py get their values from: one function, so that there is one place to change."""

import os


class ConfigError(KeyError):
    """A value is missing or cannot be used; the message names its key. init.py prints it as one line."""


def get_config(key: str) -> str:
    """Return the value of a key from the environment, or the first line of the file that KEY_FILE names there.

    In development Compose fills the environment from secrets.txt; in production it mounts the passwords as files.
    Raises ConfigError, naming the key, where it is missing or empty, set in both ways, or where the file cannot be read.
    """
    value, path = os.getenv(key), os.getenv(f"{key}_FILE")
    if value and path:
        raise ConfigError(f"{key} and {key}_FILE are both set: remove one of them")
    if path:
        try:
            with open(path, encoding="utf-8", newline="\n") as file:
                value = file.readline().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{key}_FILE={path} cannot be read: {error}") from error
    if not value:
        raise ConfigError(f"{key} is missing or empty: set it in secrets/secrets.txt")
    return value

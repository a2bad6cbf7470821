"""The one place that reads settings: settings.py and init.py call get_config."""

import os
from pathlib import Path

# Production mounts a file for each secret here; development has none
SECRETS = Path("/run/secrets")


class ConfigError(KeyError):
    """A setting is missing or unusable. The message names its key."""


def get_config(key):
    """Return the environment variable `key`, or the first line of its secret file.

    Raise ConfigError if both are missing or empty.
    """
    # While production's image is built, there are no settings yet
    if os.getenv("DJANGO_BUILD"):
        return "1"
    value = os.getenv(key)
    if not value and (SECRETS / key).is_file():
        value = (SECRETS / key).read_text().partition("\n")[0].rstrip("\r")
    if not value:
        raise ConfigError(
            f"{key} is missing or empty. Set it in secrets/secrets.txt"
            " (in production: in production/.env, or as a file in production/secrets)"
        )
    return value

"""The one place that reads settings: settings.py and init.py call get_config."""

import os
from pathlib import Path

# Production mounts a file for each secret here
SECRETS = Path("/run/secrets")
REQUIRED = object()


class ConfigError(KeyError):
    """A setting is missing or unusable. The message names its key."""


def get_config(key, default=REQUIRED):
    """Return the environment variable `key`, or the text of its secret file.

    If both are missing or empty, return `default`. Without one, raise ConfigError.
    """
    value = os.getenv(key)
    if not value and (SECRETS / key).is_file():
        value = (SECRETS / key).read_text().removesuffix("\n")
    if value:
        return value
    if default is not REQUIRED:
        return default
    # A build has no secrets: see production/collect_static.py
    if os.getenv("DJANGO_BUILD"):
        return f"{key} is not in env.example"
    raise ConfigError(
        f"{key} is missing or empty. Set it in secrets/secrets.txt"
        " (in production: in production/.env, or as a file in production/secrets)"
    )

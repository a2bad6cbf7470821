"""Run Django's `check --deploy` with production's settings. `make up` runs this."""

import sys

import django
from codesolid_demo.config import ConfigError
from django.core.management import CommandError, call_command

try:
    django.setup()
    call_command("check", deploy=True, fail_level="WARNING")
except (CommandError, ConfigError) as error:
    sys.exit(f"error: {error.args[0]}")

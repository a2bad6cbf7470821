"""Collect the static files while the image is built. Dockerfile runs this.

There are no settings yet, so get_config finds those of env.example. For a secret, it
returns its caller's default, or a placeholder.
"""

import os
import re
from pathlib import Path

from django.core.management import execute_from_command_line

# As Compose reads them: KEY='...', KEY="..." or KEY=..., and a comment after a space
LINE = r"""^(\w+)=(?:'([^']*)'|"([^"]*)"|(.*?))[ \t]*(?:[ \t]#.*)?$"""

if __name__ == "__main__":
    settings = Path(__file__).with_name("env.example").read_text()
    for key, *values in re.findall(LINE, settings, re.MULTILINE):
        os.environ[key] = "".join(values)
    os.environ["DJANGO_BUILD"] = "1"
    execute_from_command_line(["manage.py", "collectstatic", "--no-input"])

"""Check production's settings with Django's `check --deploy`, or print its addresses.

`make up` does both: python check_settings.py, later python check_settings.py addresses
"""

import re
import sys

import django
from codesolid_demo.config import ConfigError, get_config
from django.core.management import CommandError, call_command

# A name whose last part has a letter, unlike an IP address; or http:// alone
ADDRESS = r"(?:(https?)://)?((?:[\w*-]+\.)*[\w-]*[a-zA-Z][\w-]*)|(http)://"


def addresses():
    """Return the URLs in SITE_ADDRESS. Raise ConfigError for one that cannot work."""
    found = []
    for address in get_config("SITE_ADDRESS").split(","):
        match = re.fullmatch(ADDRESS, address.strip())
        if not match:
            raise ConfigError(
                f"SITE_ADDRESS holds {address.strip()}: write a name without port, such as"
                " www.example.org, or http:// for plain HTTP. The ports are in .env"
            )
        scheme, host = match[1] or match[3] or "https", match[2] or "localhost"
        key = "HTTP_PORT" if scheme == "http" else "HTTPS_PORT"

        # An address can be before the port: 127.0.0.1:8080
        port = get_config(key).rpartition(":")[2]
        shown = "" if (scheme, port) in (("http", "80"), ("https", "443")) else f":{port}"
        found.append(f"{scheme}://{host}{shown}")
    return found


try:
    urls = addresses()
    if sys.argv[1:] == ["addresses"]:
        print("Open", " or ".join(urls))
    else:
        django.setup()
        call_command("check", deploy=True, fail_level="WARNING")
except (CommandError, ConfigError) as error:
    sys.exit(f"error: {error.args[0]}")

"""The settings of production: what differs from settings.py.

These names are set here, so settings.py sets them for development only: SECRET_KEY,
SECRET_KEY_FALLBACKS, ALLOWED_HOSTS, STATIC_ROOT, MEDIA_ROOT, MEDIA_URL,
SECURE_PROXY_SSL_HEADER, SECURE_HSTS_SECONDS, SESSION_COOKIE_SECURE, CSRF_COOKIE_SECURE,
and "staticfiles" in STORAGES. DATABASES and SILENCED_SYSTEM_CHECKS are extended. All
other settings, also a LOGGING, are settings.py's.
"""

import os
import re

from django.conf import global_settings

from codesolid_demo import settings
from codesolid_demo.config import ConfigError, get_config
from codesolid_demo.settings import *
from codesolid_demo.settings import DATABASES


def get_list(key):
    """Return the words of a comma-separated setting. Raise ConfigError if it is empty."""
    words = [word.strip() for word in get_config(key).split(",") if word.strip()]
    if not words:
        raise ConfigError(f"{key} is empty")
    return words


# The first key signs. A session stays valid while the key that signed it is in the list
SECRET_KEY, *SECRET_KEY_FALLBACKS = get_list("DJANGO_SECRET_KEY")

ALLOWED_HOSTS = get_list("DJANGO_ALLOWED_HOSTS")
for host in ALLOWED_HOSTS:
    if not re.fullmatch(r"\.?[\w-]+(\.[\w-]+)*|\*|\[[0-9a-f:]+\]", host):
        raise ConfigError(
            f"DJANGO_ALLOWED_HOSTS holds {host}, which is not a host name: write it without"
            " https://, port and quotes, for example www.example.org"
        )

database = DATABASES["default"]
if database["HOST"] == "backend":
    for key in ("USER", "NAME"):
        if re.match("postgres$|template[01]$|pg_", database[key]):
            raise ConfigError(
                f"POSTGRES_{key.replace('NAME', 'DB')}={database[key]} is a name that"
                " PostgreSQL uses itself: choose another one in .env"
            )
    # PostgreSQL cuts a name after 63 characters. make restore adds "-new" to it
    if len(database["NAME"]) > 59:
        raise ConfigError("POSTGRES_DB has more than 59 characters: shorten it in .env")

# Keep connections open, and check each one before a request uses it. A pool does both
if "pool" not in database["OPTIONS"]:
    database["CONN_MAX_AGE"] = 60
    database["CONN_HEALTH_CHECKS"] = True

# Close a connection after 9 seconds without an answer of the network
database["OPTIONS"] |= {
    "sslmode": os.getenv("POSTGRES_SSLMODE", "prefer"),
    "tcp_user_timeout": 9_000,
    "keepalives_idle": 3,
    "keepalives_interval": 2,
    "keepalives_count": 3,
}

# The name of each static file gets a hash of its content, so that browsers can keep it
STATIC_ROOT = "/static"
STORAGES = getattr(settings, "STORAGES", global_settings.STORAGES) | {
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.ManifestStaticFilesStorage",
    },
}

# Uploaded files: a volume, which the proxy serves
MEDIA_ROOT = "/media"
MEDIA_URL = "media/"

# Print errors, because Django's default is to mail them
stdout = {"class": "logging.StreamHandler", "stream": "ext://sys.stdout"}
LOGGING = getattr(settings, "LOGGING", None) or {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stdout": stdout},
    "root": {"handlers": ["stdout"], "level": "INFO"},
}

# The proxy terminates TLS, redirects HTTP to HTTPS (Django's check W008), and sets
# X-Forwarded-Proto
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
tls = not os.getenv("SITE_ADDRESS", "").startswith("http://")
SECURE_HSTS_SECONDS = 31536000 if tls else 0
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = tls

# `make up` stops at a warning of `manage.py check --deploy` that is not in this list.
# W005 and W021: whether HTTPS binds your subdomains, too, is your choice
SILENCED_SYSTEM_CHECKS = [
    *getattr(settings, "SILENCED_SYSTEM_CHECKS", []),
    *("security.W005", "security.W008", "security.W021"),
    # Without TLS, nothing can require it
    *([] if tls else ["security.W004", "security.W012", "security.W016"]),
]

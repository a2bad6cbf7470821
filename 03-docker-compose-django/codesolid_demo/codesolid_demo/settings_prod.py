"""What production changes in settings.py. docker-compose.prod.yaml chooses this module by DJANGO_SETTINGS_MODULE."""

import os
import time

import psycopg2
from django.core.files.storage import FileSystemStorage

from codesolid_demo.config import get_config
from codesolid_demo.settings import *
from codesolid_demo.settings import BASE_DIR, DATABASES

DEBUG = False
# The first key signs; whatever one of those behind it signed (with commas between) is still good, and is signed anew when its
# owner comes by: so a key is changed, and nobody who does has to log in again. A comma left over must not make an empty key.
SECRET_KEY, *SECRET_KEY_FALLBACKS = filter(None, get_config('DJANGO_SECRET_KEY').split(','))
ALLOWED_HOSTS = get_config('DJANGO_ALLOWED_HOSTS').split(',')


def connect(dsn, **options):
    """Return a new connection to PostgreSQL.

    After a crash of one of its processes PostgreSQL says for a moment that it is recovering: that is waited for, instead of
    failing the request. Raises OperationalError where there is no connection, or after four seconds of such words.
    """
    deadline = time.monotonic() + 4
    while True:
        try:
            return psycopg2.extensions.connection(dsn, **options)
        except psycopg2.OperationalError as error:
            if 'the database system is' not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.05)


# Milliseconds: a query that takes longer is cancelled, instead of holding its worker. TLS to the database where it is asked for.
DATABASES['default']['OPTIONS'] |= {
    'connection_factory': connect,
    'options': '-c statement_timeout=15000',
    'sslmode': os.getenv('POSTGRES_SSLMODE', 'prefer'),
}

# Each file's name holds a hash of its content, so that browsers may keep it for a year. The list of names is not served.
STATIC_ROOT = BASE_DIR / 'static'
STORAGES = {
    'default': {'BACKEND': 'django.core.files.storage.FileSystemStorage'},
    'staticfiles': {
        'BACKEND': 'django.contrib.staticfiles.storage.ManifestStaticFilesStorage',
        'OPTIONS': {'manifest_storage': FileSystemStorage(location=BASE_DIR / 'manifest')},
    },
}

# To stdout, where `docker compose logs` finds it: without this, Django mails errors to administrators that nobody has named.
LOGGING = {
    'version': 1,
    'disable_existing_loggers': False,
    'handlers': {'stdout': {'class': 'logging.StreamHandler', 'stream': 'ext://sys.stdout'}},
    'root': {'handlers': ['stdout'], 'level': 'INFO'},
}

# DJANGO_HTTPS=1 where a proxy in front ends TLS, and says so in this header (it must overwrite the one that clients send).
if os.getenv('DJANGO_HTTPS') == '1':
    SECURE_PROXY_SSL_HEADER = ('HTTP_X_FORWARDED_PROTO', 'https')
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 31536000
    SESSION_COOKIE_SECURE = True
    CSRF_COOKIE_SECURE = True
    # Subdomains (W005) and browsers' preload lists (W021) bind more than this site: that is for the domain's owner to choose.
    SILENCED_SYSTEM_CHECKS = ['security.W005', 'security.W021']

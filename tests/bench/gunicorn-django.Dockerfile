# The usual alternative, as in many templates. A script waits for the database's port with netcat. gunicorn runs two workers with
# four threads each, and WhiteNoise serves the static files. bench.py builds it in 03-docker-compose-django.
FROM python:3.14-slim-trixie
RUN apt-get update && apt-get install -y --no-install-recommends netcat-openbsd && rm -rf /var/lib/apt/lists/*
RUN useradd -m myuser
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt && pip install --no-cache-dir gunicorn==27.0.1 whitenoise==6.12.0
COPY codesolid_demo .
COPY <<EOT codesolid_demo/settings_whitenoise.py
from codesolid_demo.config import get_config
from codesolid_demo.settings import *
DEBUG = False
SECRET_KEY = get_config("DJANGO_SECRET_KEY")
ALLOWED_HOSTS = get_config("DJANGO_ALLOWED_HOSTS").split(",")
STATIC_ROOT = "/app/staticfiles"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
MIDDLEWARE.insert(1, "whitenoise.middleware.WhiteNoiseMiddleware")
DATABASES["default"] |= {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
EOT
COPY --chmod=755 <<EOT entrypoint.sh
#!/bin/sh
while ! nc -z "\$POSTGRES_REMOTE_HOST" "\$POSTGRES_PORT"; do sleep 0.1; done
python manage.py migrate --no-input
exec "\$@"
EOT
ENV DJANGO_SETTINGS_MODULE=codesolid_demo.settings_whitenoise
RUN DJANGO_BUILD=1 python manage.py collectstatic --no-input
USER myuser
ENTRYPOINT ["./entrypoint.sh"]
CMD ["gunicorn", "--bind", "0.0.0.0:8000", "--workers", "2", "--threads", "4", "codesolid_demo.wsgi:application"]

# The usual alternative, as one finds it in many a template: python:slim, a script that waits for the database's port by netcat,
# gunicorn with two workers of four threads, static files by whitenoise. bench.py builds it in 03-docker-compose-django.
FROM python:3.14-slim-trixie
RUN apt-get update && apt-get install -y --no-install-recommends netcat-openbsd && rm -rf /var/lib/apt/lists/*
RUN useradd -m myuser
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt && pip install --no-cache-dir gunicorn==27.0.1 whitenoise==6.12.0
COPY codesolid_demo .
COPY <<EOT codesolid_demo/settings_whitenoise.py
from codesolid_demo.settings_prod import *
MIDDLEWARE.insert(1, "whitenoise.middleware.WhiteNoiseMiddleware")
EOT
COPY --chmod=755 <<EOT entrypoint.sh
#!/bin/sh
while ! nc -z "\$POSTGRES_REMOTE_HOST" "\$POSTGRES_PORT"; do sleep 0.1; done
python manage.py migrate --no-input
exec "\$@"
EOT
RUN DJANGO_SETTINGS_MODULE=codesolid_demo.settings_whitenoise DJANGO_SECRET_KEY=x DJANGO_ALLOWED_HOSTS=x POSTGRES_DB=x POSTGRES_USER=x \
    POSTGRES_PASSWORD=x POSTGRES_REMOTE_HOST=x POSTGRES_PORT=5432 python manage.py collectstatic --no-input
USER myuser
ENTRYPOINT ["./entrypoint.sh"]
CMD ["gunicorn", "--bind", "0.0.0.0:8000", "--workers", "2", "--threads", "4", "codesolid_demo.wsgi:application"]

# The usual alternative: the same Django, behind gunicorn with two workers of four threads, static files by whitenoise.
FROM bench-django-prod
USER root
RUN pip install --no-cache-dir --root-user-action=ignore gunicorn==27.0.1 whitenoise==6.12.0
COPY <<EOT codesolid_demo/settings_whitenoise.py
from codesolid_demo.settings_prod import *
MIDDLEWARE.insert(1, "whitenoise.middleware.WhiteNoiseMiddleware")
EOT
USER myuser
CMD ["./start.sh", "gunicorn", "--bind", "0.0.0.0:8000", "--workers", "2", "--threads", "4", "codesolid_demo.wsgi:application"]

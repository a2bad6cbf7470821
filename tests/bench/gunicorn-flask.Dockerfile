# The usual alternative, as in many templates: gunicorn with two workers of four threads each. bench.py builds it in
# 01-docker-flask.
FROM python:3.14-slim-trixie
RUN useradd -m myuser
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt && pip install --no-cache-dir gunicorn==27.0.1
COPY flaskapp.py .
USER myuser
CMD ["gunicorn", "--bind", "0.0.0.0:8080", "--workers", "2", "--threads", "4", "flaskapp:app"]

# The usual alternative: the same Flask, behind gunicorn with two workers of four threads.
FROM bench-flask-prod
USER root
RUN pip install --no-cache-dir --root-user-action=ignore gunicorn==27.0.1
USER myuser
CMD ["gunicorn", "--bind", "0.0.0.0:8080", "--workers", "2", "--threads", "4", "flaskapp:app"]

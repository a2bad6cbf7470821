# The same application for production: make production
# The comments explain only what differs from Dockerfile.
FROM python:3.14-alpine3.24
RUN adduser -D myuser
WORKDIR /app

# Install Granian, too, because flask run is only for development
COPY requirements-production.txt .
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --require-hashes -r requirements-production.txt

COPY --chmod=755 . .
USER myuser
ENV PYTHONUNBUFFERED=1

# Granian reads its options from environment variables
ENV GRANIAN_INTERFACE=wsgi
ENV GRANIAN_HOST=0.0.0.0
ENV GRANIAN_PORT=8080

# Two worker processes with four threads each; Granian replaces a worker that crashes
ENV GRANIAN_WORKERS=2
ENV GRANIAN_BLOCKING_THREADS=4
ENV GRANIAN_RESPAWN_FAILED_WORKERS=true

# docker ps shows "healthy" once the page answers. no_proxy=* sends the request directly
# to this container, even if a proxy is configured
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --start-interval=0.5s \
    CMD ["env", "no_proxy=*", "python", "-c", \
         "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080')"]

# Granian handles SIGTERM, so this image needs no STOPSIGNAL
CMD ["granian", "flaskapp:app"]

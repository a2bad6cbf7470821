# The same application for production: make production
# Only what differs from Dockerfile is explained.
ARG PYTHON_IMAGE=python:3.14-slim-trixie
FROM ${PYTHON_IMAGE}
RUN useradd -m myuser
WORKDIR /app

# The requirements of Dockerfile, and Granian: flask run is made for development only
COPY requirements-production.txt .
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --require-hashes -r requirements-production.txt

COPY --chmod=755 . .
USER myuser

# Granian reads its settings from the environment: change them with docker run --env
ENV GRANIAN_INTERFACE=wsgi
ENV GRANIAN_PORT=8080
ENV GRANIAN_HOST=0.0.0.0

# Two processes answer requests; Granian replaces one that dies
ENV GRANIAN_WORKERS=2
ENV GRANIAN_RESPAWN_FAILED_WORKERS=true

# docker ps shows "healthy" when the page answers. no_proxy: ask this container itself,
# even where a proxy is configured
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --start-interval=0.5s \
    CMD ["env", "no_proxy=*", "python", "-c", \
         "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080')"]

CMD ["granian", "flaskapp:app"]

# wrk, which creates the load. It sends requests only to the benchmark's own containers.
FROM python:3.14-slim-trixie
RUN apt-get update && apt-get install -y --no-install-recommends wrk && rm -rf /var/lib/apt/lists/*
ENTRYPOINT ["wrk"]

# The load: wrk, which talks to the other containers of the benchmark's own network and to nothing else.
FROM python:3.14-slim-trixie
RUN apt-get update && apt-get install -y --no-install-recommends wrk && rm -rf /var/lib/apt/lists/*
ENTRYPOINT ["wrk"]

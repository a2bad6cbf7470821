# The proxy that replaces the routing mesh if the kernel has no IPVS. test_swarm.py and bench.py build it.
FROM python:3.14-slim-trixie
RUN apt-get update && apt-get install -y --no-install-recommends nginx-light && rm -rf /var/lib/apt/lists/*
COPY nginx.conf /etc/nginx/nginx.conf
CMD ["nginx", "-g", "daemon off;"]

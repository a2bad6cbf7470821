# A registry like the official image registry, made from Debian's package. test_swarm.py builds it, pushes to it, and the nodes
# pull from it. It has a certificate of its own, and asks for a login.
FROM python:3.14-slim-trixie
RUN apt-get update \
 && apt-get install -y --no-install-recommends apache2-utils docker-registry openssl && rm -rf /var/lib/apt/lists/*
ENV REGISTRY_HTTP_ADDR=:5000 REGISTRY_HTTP_TLS_CERTIFICATE=/tls/tls.crt REGISTRY_HTTP_TLS_KEY=/tls/tls.key \
    REGISTRY_AUTH=htpasswd REGISTRY_AUTH_HTPASSWD_REALM=registry REGISTRY_AUTH_HTPASSWD_PATH=/tls/users
CMD ["docker-registry", "serve", "/etc/docker/registry/config.yml"]

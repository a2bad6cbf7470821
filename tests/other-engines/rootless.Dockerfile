# Docker Engine for a user without root. run.sh builds it.
ARG DEBIAN=debian:forky
FROM ${DEBIAN}
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
    ca-certificates curl docker-buildx docker-cli docker-compose docker.io iproute2 iptables make python3 rootlesskit slirp4netns \
    tini-static uidmap \
 && apt-get clean && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home learner && install -d -o learner /run/user/1000 /home/learner/.local
USER learner
ENV XDG_RUNTIME_DIR=/run/user/1000 DOCKER_HOST=unix:///run/user/1000/docker.sock \
    PATH=/usr/share/docker.io/contrib:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin

# The engine's data is in a volume, because it cannot be on the file system of another container.
VOLUME /home/learner/.local
CMD ["sh", "-c", "until [ -w /dev/net/tun ]; do sleep 0.1; done; exec dockerd-rootless.sh"]

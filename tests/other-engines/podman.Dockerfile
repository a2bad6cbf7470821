# Podman with Docker's Compose behind it, in one container. run.sh builds it.
ARG DEBIAN=debian:forky
FROM ${DEBIAN}

# podman-docker makes `docker` another name of podman. runc works with more kinds of cgroups than crun.
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
    aardvark-dns ca-certificates catatonit curl docker-compose iptables make netavark nftables passt podman podman-docker python3 runc \
 && apt-get clean && rm -rf /var/lib/apt/lists/*

# nodocker: no message for each command that `docker` is Podman.
RUN touch /etc/containers/nodocker
COPY containers.conf /etc/containers/

# Podman's storage is in a volume, because it cannot be on the file system of another container.
VOLUME /var/lib/containers
CMD ["sleep", "1800"]

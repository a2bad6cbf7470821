# Stand-in for python:3.13-alpine3.23: CPython and busybox on musl, compiled from Debian's source packages (without Debian's
# patches). Built by ../../engine.py where Docker Hub is out of reach. Left out: apk, the update-ca-certificates program, and
# Python's modules readline, curses, dbm, tkinter and _uuid, whose libraries would cost more time than they are worth here.

# The version in Debian trixie; the hash is that of its source, which is upstream's, so the official image has the same.
ARG PYTHON_VERSION=3.13.5
ARG PYTHON_SHA256=93e583f243454e6e9e4588ca2c2662206ad961659863277afcdb96801647d640

FROM docker-examples-debian:trixie AS sources
# The same line as in ../hello-world/Dockerfile, so that the engine runs it once for both.
# hadolint ignore=DL3009
RUN apt-get update && apt-get install -y --no-install-recommends binutils musl-tools
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
# autoconf, automake, libltdl-dev and libtool are for libffi, whose source has no configure.
# hadolint ignore=DL3009
RUN sed -i 'p; s/^deb /deb-src /' /etc/apt/sources.list \
 && apt-get update \
 && apt-get install -y --no-install-recommends \
    autoconf automake bzip2 libltdl-dev libtool linux-libc-dev make perl xz-utils
# The kernel's headers, where musl-gcc looks.
WORKDIR /usr/include
RUN ln -s ../asm-generic ../linux ../mtd "../$(uname -m)-linux-gnu/asm" "$(uname -m)-linux-musl/"
# The compiler for all that follows. Asked for --print-multiarch it says nothing, as Alpine's own does: Debian's answer is
# glibc's, and CPython's configure would stop at it.
COPY --chmod=755 <<'EOF' /usr/local/bin/gcc
#!/bin/sh
[ "$1" = --print-multiarch ] || exec musl-gcc "$@"
EOF

ARG PYTHON_VERSION PYTHON_SHA256
WORKDIR /src
# The index can name a version that the mirror lacks; the one before it does as well.
# libdbd-sqlite3-perl carries SQLite as one C file; SQLite's own source would need Tcl to make that.
RUN for package in busybox bzip2 libdbd-sqlite3-perl libffi openssl python3.13 xz-utils zlib; do \
        for version in $(apt-cache showsrc "$package" | sed -n 's/^Version: //p' | sort -Vr); do \
            apt-get source --download-only --tar-only "$package=$version" && break; \
        done; \
        mkdir "$package" && tar -xf "$package"_*.orig.tar.*[2z] --strip-components=1 -C "$package" || exit; \
    done && times
RUN echo "$PYTHON_SHA256  python3.13_$PYTHON_VERSION.orig.tar.xz" | sha256sum -c || { \
        echo "error: Debian's python3.13 is no longer $PYTHON_VERSION: change PYTHON_VERSION and PYTHON_SHA256" >&2; exit 1; }

FROM sources AS openssl
WORKDIR /src/openssl
# As little of it, and as little optimised, as hashlib and TLS can do with: it takes the longest.
RUN ./Configure -O1 --prefix=/musl --libdir=lib --openssldir=/etc/ssl no-shared no-apps no-docs no-tests \
    no-cmp no-cms no-ct no-dtls no-engine no-legacy no-ocsp no-quic no-ts \
    no-aria no-camellia no-ml-dsa no-seed no-slh-dsa no-sm2 no-sm4 \
 && make -j"$(nproc)" build_libs \
 && make install_dev && times

FROM sources AS libraries
# Static and position-independent: they end up in CPython's extension modules.
ENV CFLAGS="-O1 -fPIC"
WORKDIR /src/zlib
RUN ./configure --static --prefix=/musl && make install && times
WORKDIR /src/bzip2
RUN make libbz2.a CFLAGS="$CFLAGS" && cp bzlib.h /musl/include/ && cp libbz2.a /musl/lib/
WORKDIR /src/libdbd-sqlite3-perl
RUN gcc -O1 -fPIC -c sqlite3.c && ar rc /musl/lib/libsqlite3.a sqlite3.o && cp sqlite3.h /musl/include/ && times
WORKDIR /src/libffi
RUN ./autogen.sh \
 && ./configure --prefix=/musl --libdir=/musl/lib --disable-shared --disable-docs --disable-multi-os-directory \
 && make install && times
WORKDIR /src/xz-utils
RUN ./configure --prefix=/musl --disable-shared --disable-nls --disable-doc --disable-scripts \
    --disable-xz --disable-xzdec --disable-lzmadec --disable-lzmainfo \
 && make -j"$(nproc)" install && times

# Not FROM sources: it shall run after OpenSSL, beside CPython's configure, which leaves a core idle.
FROM openssl AS busybox
WORKDIR /src/busybox
# Off: tc, which today's kernel headers do not fit, and what would make a script take the image for Debian or Fedora.
RUN make defconfig \
 && sed -i -E 's/^(CONFIG_(TC|DPKG|DPKG_DEB|RPM))=y/# \1 is not set/' .config \
 && make oldconfig \
 && make -j"$(nproc)" install CONFIG_PREFIX=/image \
 && rm /image/linuxrc \
 && mkdir /image/lib \
 && cp -L /lib/ld-musl-*.so.1 /image/lib/ && times

FROM sources AS python
COPY --from=libraries /musl /musl
COPY --from=openssl /musl /musl
WORKDIR /src/python3.13
# The stack size is that of the official image: with musl's default, deep recursion in a thread ends in a crash.
# COMPILEALL_OPTS: otherwise make install would write .pyc files, only for them to be removed.
RUN ./configure --enable-option-checking=fatal --enable-loadable-sqlite-extensions --disable-test-modules \
    --with-openssl=/musl OPT="-DNDEBUG -O2" CPPFLAGS=-I/musl/include LDFLAGS="-L/musl/lib -s" && times \
 && make -j"$(nproc)" EXTRA_CFLAGS=-DTHREAD_STACK_SIZE=0x100000 && times \
 && make install DESTDIR=/image COMPILEALL_OPTS=--help && times
WORKDIR /image/usr/local
RUN find . \( -name __pycache__ -o -name 'libpython*.a' \) -prune -exec rm -r {} + \
 && for name in idle pip pydoc python; do ln -s "${name}3" "bin/$name" || exit; done \
 && ln -s python3-config bin/python-config

FROM scratch
ARG PYTHON_VERSION PYTHON_SHA256
ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHON_VERSION=$PYTHON_VERSION \
    PYTHON_SHA256=$PYTHON_SHA256 \
    GPG_KEY=7169605F62C751356D054A26A821E680E5FA6305
COPY --from=sources /etc/protocols /etc/services /etc/
# This machine's certificates: a proxy may have its own.
COPY --from=sources /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=sources /usr/share/zoneinfo /usr/share/zoneinfo
COPY --from=busybox /image /
COPY --from=python /image /
RUN mkdir -p /home /media /mnt /opt /run /srv /usr/lib /usr/local/sbin /var/cache /var/log \
 && mkdir -m 1777 /tmp /var/tmp \
 && mkdir -m 700 /root \
 && ln -s /run /var/run \
 && ln -s certs/ca-certificates.crt /etc/ssl/cert.pem \
 && printf '%s\n' root:x:0:0:root:/root:/bin/sh nobody:x:65534:65534:nobody:/:/sbin/nologin > /etc/passwd \
 && printf '%s\n' root:x:0:root tty:x:5: www-data:x:82: users:x:100: nogroup:x:65533: nobody:x:65534: > /etc/group \
 && printf '%s\n' 'root:*::0:::::' 'nobody:!::0:::::' > /etc/shadow \
 && chmod 640 /etc/shadow \
 && echo 3.23.0 > /etc/alpine-release \
 && printf '%s\n' ID=alpine VERSION_ID=3.23.0 'NAME="Alpine Linux"' \
    'PRETTY_NAME="Stand-in for Alpine Linux v3.23, built by docker-examples where Docker Hub is out of reach"' > /etc/os-release
# The build shall fail if one of these was left out for want of its library.
RUN python3 -B -c "import bz2, ctypes, lzma, pip, sqlite3, ssl, zlib"
CMD ["python3"]

#!/usr/bin/env bash
# The ENTRYPOINT of the stand-in for postgres:18-trixie. Its arguments are the container's command.
# It initializes PGDATA if it is empty, then replaces itself with the server.
# It has the same weakness as the official script: if the first start is killed, an incomplete database remains.
set -eo pipefail # no -u, because this shell also runs scripts from /docker-entrypoint-initdb.d

say() { printf '%s: %s\n' "${0##*/}" "$*"; }
die() {
    say "error: $*" >&2
    exit 1
}

# setting NAME [DEFAULT]: export NAME. Its value comes from NAME itself, from the file that NAME_FILE names,
# or from DEFAULT.
setting() {
    local name=$1 file=$1_FILE value=$2
    [[ -z ${!name} || -z ${!file} ]] || die "$name and $file are both set: unset one of them"
    if [[ ${!name} ]]; then
        value=${!name}
    elif [[ ${!file} ]]; then
        [[ -r ${!file} ]] || die "$file=${!file}: user $(id -un) cannot read that file"
        value=$(<"${!file}")
    fi
    export "$name=$value"
    unset "$file"
}

make_folders() {
    mkdir -p "$PGDATA" /var/run/postgresql ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"}
    # Ignore the errors of both commands, because chmod fails if another user owns a mount.
    # PostgreSQL reports an error if the wrong mode is a problem.
    chmod 700 "$PGDATA" ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"} || true
    chmod 3775 /var/run/postgresql || true
    if ((EUID == 0)); then
        find "$PGDATA" /var/run/postgresql ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"} \
            ! -user postgres -exec chown postgres {} +
    fi
}

# PostgreSQL 18 and later have another default PGDATA. Without this check, the data of an older image is ignored.
# A mount on the PGDATA of an older image is ignored, too.
check_old_place() {
    local old found=()
    [[ $PGDATA == "/var/lib/postgresql/$PG_MAJOR/docker" ]] || return 0
    for old in /var/lib/postgresql /var/lib/postgresql/data /var/lib/postgresql/*/docker; do
        [[ ! -s $old/PG_VERSION ]] || found+=("$old")
    done
    if ((${#found[@]} == 0)) && mountpoint -q /var/lib/postgresql/data; then
        found=("/var/lib/postgresql/data (a mount)")
    fi
    ((${#found[@]} == 0)) || die "PostgreSQL $PG_MAJOR keeps its data in $PGDATA, but there is something in ${found[*]}:" \
        "mount a volume on /var/lib/postgresql, and take the data over by pg_upgrade or by pg_dump"
}

check_settings() {
    # Check now that the folder can be read. An error after initdb leaves an incomplete PGDATA.
    ls /docker-entrypoint-initdb.d/ >/dev/null
    if [[ $POSTGRES_HOST_AUTH_METHOD == trust ]]; then
        say "warning: POSTGRES_HOST_AUTH_METHOD=trust lets everybody who reaches the port in, without a password" >&2
    elif [[ -z $POSTGRES_PASSWORD ]]; then
        die "the database has no superuser password: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE to one that is not empty"
    fi
}

# make_cluster [SERVER OPTION ...]
make_cluster() {
    local options method
    # Read the arguments as shell words, because a value with a space needs quotes.
    eval "options=($POSTGRES_INITDB_ARGS)"
    [[ -z $POSTGRES_INITDB_WALDIR ]] || options+=("--waldir=$POSTGRES_INITDB_WALDIR")
    # Pass the password through a pipe, because every user can read a command line.
    # initdb reads the first line and removes a CR or LF at its end.
    initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") "${options[@]}"
    method=${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption "$@")}
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

# sql [PSQL OPTION ...]: run SQL in the new database, unless an option names another database.
# It connects through the Unix socket, even if PGHOST is set.
sql() {
    PGHOST='' PGHOSTADDR='' psql --no-psqlrc --no-password --set=ON_ERROR_STOP=1 \
        --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" "$@"
}

make_database() {
    sql --dbname=postgres --set=name="$POSTGRES_DB" <<'SQL'
SELECT format('CREATE DATABASE %I', :'name') WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
SQL
}

run_scripts() {
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        [[ $script != */\* ]] || continue # the pattern itself, because the folder is empty
        say "running $script"
        case $script in
            *.sh)
                if [[ -x $script ]]; then
                    "$script"
                else
                    # shellcheck source=/dev/null
                    . "$script"
                fi
                ;;
            *.sql) sql --file="$script" ;;
            *.sql.gz) gzip -dc "$script" | sql ;;
            *.sql.xz) xz -dc "$script" | sql ;;
            *.sql.zst) zstd -dc "$script" | sql ;;
            *) say "ignoring it: not .sh, .sql, .sql.gz, .sql.xz or .sql.zst" ;;
        esac
    done
}

# fill_database [SERVER OPTION ...]: create the database and run the scripts with a temporary server.
# Only this container can reach that server.
fill_database() {
    export PGPASSWORD=${PGPASSWORD:-$POSTGRES_PASSWORD} # in case the socket requires a password
    pg_ctl start --wait --options="$(printf '%q ' "$@" -c listen_addresses= -p "${PGPORT:-5432}")"
    make_database
    run_scripts
    pg_ctl stop --wait --mode=fast
    unset PGPASSWORD
}

[[ $1 != -* ]] || set -- postgres "$@"
# Other commands need no data. The server needs no data to print its version or help.
if [[ $1 != postgres || " $* " =~ \ (-\?|--help|--describe-config|-V|--version)\  ]]; then
    exec "$@"
fi

setting POSTGRES_PASSWORD
setting POSTGRES_USER postgres
setting POSTGRES_DB "$POSTGRES_USER"
setting POSTGRES_INITDB_ARGS
make_folders
if ((EUID == 0)); then
    exec gosu postgres "$0" "$@"
fi

if [[ -s $PGDATA/PG_VERSION ]]; then
    say "$PGDATA holds a database already: skipping initialization, the POSTGRES_ variables have no effect"
else
    check_old_place
    check_settings
    make_cluster "${@:2}"
    fill_database "${@:2}"
    say "PostgreSQL's initialization is complete: ready to start up"
fi
exec "$@"

#!/bin/bash
# What docker-compose.yml leans on of the official image's script. The container's user is postgres.
set -euo pipefail
if [ "$1" = postgres ]; then
    chmod 700 "$PGDATA"
    if [ ! -s "$PGDATA/PG_VERSION" ]; then
        initdb --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" >/dev/null
        echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
        pg_ctl -D "$PGDATA" -o "-c listen_addresses=''" -w start >/dev/null
        createdb --username="$POSTGRES_USER" "$POSTGRES_DB"
        pg_ctl -D "$PGDATA" -m fast -w stop >/dev/null
    fi
    set -- "$@" -c 'listen_addresses=*'
fi
exec "$@"

#!/bin/sh
# Write the passwords that docker-compose.yml mounts as files into deploy/secrets. Files that are there stay as they are:
# PostgreSQL takes its password only when its volume is new.
set -eu
cd "$(dirname "$0")"
# The folder is closed to other users of this host. The files are not: containers read them under user ids of their own.
mkdir -p secrets && chmod 700 secrets

put() { # put NAME VALUE
  [ -s "secrets/$1" ] || printf '%s' "$2" > "secrets/$1"
  chmod 444 "secrets/$1"
}

put postgres_password "$(openssl rand -hex 24)"
put database_url "postgresql://errata:$(cat secrets/postgres_password)@postgres:5432/errata"
put errata_metrics_token "$(openssl rand -hex 24)"
put grafana_password "$(openssl rand -hex 12)"
echo "deploy/secrets holds: $(ls secrets | tr '\n' ' ')"

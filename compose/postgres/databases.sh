#!/bin/sh
# One role and one database for each service; no service can connect to another's. Run once, on an empty data directory.
set -eu

for service in intake policy provisioning catalog notification; do
    name=$(echo "$service" | tr '[:lower:]' '[:upper:]')_DATABASE_PASSWORD
    password=$(printenv "$name")
    psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --set service="$service" --set password="$password" \
        --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
CREATE ROLE :"service" LOGIN PASSWORD :'password';
CREATE DATABASE :"service" OWNER :"service" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';
REVOKE ALL ON DATABASE :"service" FROM PUBLIC;
SQL
done

#!/bin/sh
# The command gets DB_USER and DB_PASSWORD as envFrom would give them.
exec secretboot run --from externalsecret-env:externalsecret.yaml -- "$@"

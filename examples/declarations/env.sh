#!/bin/sh
# bank-vaults references, as a container's env has them.
export DB_PASSWORD='vault:secret/data/app#password'
export DB_URL='postgres://app:${vault:secret/data/app#password}@db.example/app'
export DB_LOGIN='vault:secret/data/app#${ .username }/${ .password | upper }'
export VAULT_ENV_FROM_PATH=secret/data/app-settings
exec secretboot run --from env -- "$@"

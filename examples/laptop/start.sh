export VAULT_ADDR="${VAULT_ADDR:-http://127.0.0.1:8200}" SECRETBOOT_CONFIG=secretboot.yaml
exec secretboot run -- npm start

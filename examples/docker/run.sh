#!/bin/sh
# Runs the image with nothing that it does not need. The secret id is a file here and
# there, never an argument. Usage: run.sh [OPTION OF docker run]...
exec docker run --rm --read-only \
  --tmpfs /run/secrets:uid=65532,gid=65532,mode=0700,noexec,size=1m \
  --user 65532:65532 --cap-drop ALL --security-opt no-new-privileges \
  --env VAULT_ADDR --env VAULT_ROLE_ID --env VAULT_SECRET_ID_FILE=/run/approle/secret-id \
  --volume "$SECRET_ID_FILE":/run/approle/secret-id:ro \
  "$@" shop

#!/bin/sh
# Files from annotations and variables from references, in one run.
export SECRETBOOT_FROM='annotations:pod.yaml
env'
export DB_PASSWORD='vault:secret/data/shop#password'
exec secretboot run -- "$@"

#!/bin/sh
# What the injector's init container would write below /vault/secrets.
exec secretboot init --from annotations:deployment.yaml "$@"

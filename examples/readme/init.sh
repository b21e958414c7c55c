#!/bin/sh
# An init container: deliver into a shared tmpfs volume and exit.
exec secretboot init -c secretboot.yaml --dir /run/secrets

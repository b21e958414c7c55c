#!/bin/sh
# What the CSI driver would mount, in a folder on tmpfs.
exec secretboot init --from secretproviderclass:class.yaml --dir "${1:-/mnt/secrets-store}"

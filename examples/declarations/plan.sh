#!/bin/sh
# What a declaration means. None of these asks the network or reads a secret.
set -e
secretboot plan --from manifest:manifest.yaml                # reads, files, variables, login, what is ignored
secretboot plan --from manifest:manifest.yaml -o inventory   # each secret: where it is, who reads it, where it goes
secretboot plan --from manifest:manifest.yaml --policy       # the smallest Vault policy, in HCL

#!/bin/sh
# The main job on a local file that stands in for Vault.
# Usage: demo.sh PATH-OF-SECRETBOOT
set -eu
secretboot=$1
here=$(dirname "$0")
work=$(mktemp -d)
trap 'trap "" INT TERM; rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What the reader has set for a Vault of his own is not meant here.
for name in $(env | sed -n 's/^\(VAULT_[A-Z_]*\|SECRETBOOT_[A-Z_]*\)=.*/\1/p'); do unset "$name"; done

# A dev file is refused when others may read it, hence the umask.
(umask 077 && cat >"$work/dev.yaml" <<YAML
secret/data/myapp/config: { username: app, password: made-up-for-the-demo }
secret/data/myapp/api: { key: also-made-up }
YAML
)

. "$here/show.sh"
show "$secretboot" --dev "$work/dev.yaml" -c "$here/secretboot.yaml"

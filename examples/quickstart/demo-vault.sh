#!/bin/sh
# The main job on a real Vault or OpenBao in development mode, with AppRole.
# Usage: demo-vault.sh PATH-OF-SECRETBOOT
set -eu
secretboot=$1
here=$(dirname "$0")
vault=$(command -v vault || command -v bao) || {
  echo 'demo-vault: neither vault nor bao is on PATH; run make demo-vault' >&2
  exit 1
}
work=$(mktemp -d)
server=
stop() {
  trap "" INT TERM
  [ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" 2>/dev/null; } || true
  rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

unset VAULT_TOKEN VAULT_TOKEN_FILE VAULT_NAMESPACE VAULT_ROLE_ID VAULT_SECRET_ID
export HOME="$work" VAULT_ADDR=unix://$work/vault.sock BAO_ADDR=unix://$work/vault.sock
root=root-$$-$(od -An -N8 -tx1 /dev/urandom | tr -d ' \n')

echo "== starting $("$vault" version 2>/dev/null | cut -d' ' -f1-2) in development mode"
# Port 0 is any free one; we talk to it through the socket below.
cat >"$work/vault.hcl" <<HCL
listener "unix" { address = "$work/vault.sock" }
HCL
"$vault" server -dev -dev-root-token-id="$root" -dev-listen-address=127.0.0.1:0 \
  -dev-no-store-token -config="$work/vault.hcl" >"$work/vault.log" 2>&1 &
server=$!
tries=0
until VAULT_TOKEN=$root BAO_TOKEN=$root "$vault" token lookup >/dev/null 2>&1; do
  tries=$((tries + 1))
  if [ "$tries" -gt 300 ] || ! kill -0 "$server" 2>/dev/null; then
    sed 's/^/  /' "$work/vault.log" >&2
    echo 'demo-vault: the server did not start' >&2
    exit 1
  fi
  sleep 0.1
done

admin() { VAULT_TOKEN=$root BAO_TOKEN=$root "$vault" "$@" >/dev/null; }
admin kv put secret/myapp/config username=app password=made-up-for-the-demo
admin kv put secret/myapp/api key=also-made-up
admin policy write myapp - <<HCL
path "secret/data/myapp/*" { capabilities = ["read"] }
HCL
admin auth enable approle
admin write auth/approle/role/myapp token_policies=myapp token_ttl=10m
role() { VAULT_TOKEN=$root BAO_TOKEN=$root "$vault" "$@"; }
VAULT_ROLE_ID=$(role read -field=role_id auth/approle/role/myapp/role-id)
VAULT_SECRET_ID=$(role write -f -field=secret_id auth/approle/role/myapp/secret-id)
export VAULT_ROLE_ID VAULT_SECRET_ID

. "$here/show.sh"
show "$secretboot" -c "$here/secretboot.yaml"

left=$(role list -format=json auth/token/accessors | grep -c '"' || true)
echo "tokens that Vault still knows: $left (the root token; ours were revoked)"
[ "$left" = 1 ]

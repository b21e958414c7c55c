#!/bin/sh
# Once for a Vault: a policy and a role for each example. `vault` is logged in as one who may.
set -eu
cd "$(dirname "$0")"
for policy in */policy.hcl; do
  example=$(dirname "$policy")
  vault policy write "shop-$example" "$policy"
  vault write "auth/kubernetes/role/shop-$example" "@$example/role.json"
done

# What somebody does once for a Vault: a secret, who may read it, and how they log in.
set -eu
head -c 18 /dev/urandom | base64 | tr -d '\n' | vault kv put secret/shop/db password=-
vault policy write shop /setup/policy.hcl
vault auth enable approle
vault write auth/approle/role/shop token_policies=shop token_ttl=10m
umask 077
vault read -field=role_id auth/approle/role/shop/role-id >/credentials/role-id
vault write -f -field=secret_id auth/approle/role/shop/secret-id >/credentials/secret-id
chown 65532:65532 /credentials/*

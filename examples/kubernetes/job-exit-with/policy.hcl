# The smallest policy for what secretboot is to do.

# job-exit-with/secretboot.yaml:8:5: files[0]
path "secret/data/shop/db" { capabilities = ["read"] }

path "auth/token/revoke-self" { capabilities = ["update"] } # optional: in Vault's default policy; ends our token when the command ends, before its time is over

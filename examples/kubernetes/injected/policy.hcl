# The smallest policy for what secretboot is to do.

# injected/deployment.yaml Deployment/shop-injected: vault.hashicorp.com/agent-inject-secret-db.env
path "secret/data/shop/db" { capabilities = ["read"] }

path "auth/token/revoke-self" { capabilities = ["update"] } # optional: in Vault's default policy; ends our token when the command ends, before its time is over

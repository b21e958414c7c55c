path "secret/data/shop/api" { capabilities = ["read"] }
path "secret/data/shop/database" { capabilities = ["read"] }

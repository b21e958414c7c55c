path "secret/data/shop/db" { capabilities = ["read"] }

path "secret/data/ci/deploy" { capabilities = ["read"] }

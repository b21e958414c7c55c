chmod 600 dev-secrets.yaml
unset VAULT_ADDR VAULT_AGENT_ADDR
exec secretboot run -c secretboot.yaml --dev dev-secrets.yaml -- npm start

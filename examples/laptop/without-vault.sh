chmod 600 dev-secrets.yaml
exec secretboot run -c secretboot.yaml --dev dev-secrets.yaml -- npm start

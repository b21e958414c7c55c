set -eu
ID_TOKEN=$(buildkite-agent oidc request-token --audience "$VAULT_ADDR")
export ID_TOKEN
exec secretboot run --auth-method jwt --auth-role ci --auth jwt_env=ID_TOKEN --mask on --fail-on-leak \
  -f deploy/key=secret/ci/deploy#key -e DEPLOY_USER=secret/ci/deploy#user -- ./deploy

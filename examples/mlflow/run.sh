#!/bin/sh
# The variables are those of MLflow Secrets Auth; the command gets what MLflow itself reads.
export MLFLOW_SECRETS_AUTH_ENABLE=vault
export MLFLOW_VAULT_SECRET_PATH=${MLFLOW_VAULT_SECRET_PATH:-secret/mlflow/auth}
export MLFLOW_SECRETS_ALLOWED_HOSTS='mlflow.example,*.mlflow.example,127.0.0.1'
exec secretboot run --from mlflow -- "$@"

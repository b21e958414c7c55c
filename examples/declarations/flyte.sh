#!/bin/sh
# A task that asked for secret/data/app#api-key as a file and #password as the variable APP_PASSWORD.
exec secretboot run --from flyte:flyte-annotations -- "$@"

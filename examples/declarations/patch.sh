#!/bin/sh
# A patch with which the workload starts without the driver, the operator or the webhook.
exec secretboot convert --from manifest:manifest.yaml -o patch --image registry.example/secretboot:1

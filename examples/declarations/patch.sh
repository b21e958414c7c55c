#!/bin/sh
# What makes the workload start without the driver, the operator or the webhook.
set -e
secretboot convert --from manifest:manifest.yaml -o configmap >configmap.yaml
secretboot convert --from manifest:manifest.yaml -o patch --image registry.example/secretboot:1 >patch.yaml

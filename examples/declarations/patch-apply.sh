#!/bin/sh
# The patch at a workload that runs already.
set -e
kubectl apply -f configmap.yaml
kubectl patch deployment shop --patch-file patch.yaml

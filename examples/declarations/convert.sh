#!/bin/sh
# From a declaration to our own configuration, and the proof that both mean the same.
set -e
secretboot plan --from secretproviderclass:class.yaml -o json >before.json
secretboot convert --from secretproviderclass:class.yaml >secretboot.yaml
secretboot plan -c secretboot.yaml --diff before.json

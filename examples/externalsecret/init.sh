#!/bin/sh
# The files DB_USER and DB_PASSWORD, as a mounted Secret would have them.
exec secretboot init --from externalsecret:externalsecret.yaml --dir "$1"

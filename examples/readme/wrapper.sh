#!/bin/sh
# An ENTRYPOINT: two files and a variable for the command, gone when it ends.
exec secretboot run \
  -f db/password=secret/myapp/config#password \
  -f config.json=secret/myapp/config \
  -e API_KEY=secret/myapp/api#key \
  -- "$@"

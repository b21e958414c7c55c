#!/bin/sh
# Stands for an application: it shows what it was given and ends with 3.
cd "$SECRETBOOT_DIR" || exit 1
echo "files in $SECRETBOOT_DIR, on $(stat -f -c %T .):"
for name in *; do
  echo "  $(stat -L -c %A "$name") $name"
done
echo "db.env holds:"
sed 's/^/  /' db.env
echo "DB_PASSWORD has ${#DB_PASSWORD} characters; VAULT_SECRET_ID is ${VAULT_SECRET_ID-not set}"
exit 3

exec secretboot run --env-from-upcase secret/shop/settings --env-from-upcase DB_=secret/shop/db --pristine --env-allow PATH -- "$@"

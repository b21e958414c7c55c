#!/bin/sh
# A first try: one variable, with the login that `vault login` left.
secretboot run -e API_KEY=secret/myapp/api#key -- ./app

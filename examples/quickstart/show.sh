# Sourced by demo.sh and demo-vault.sh, which set $work and remove it.
# show SECRETBOOT OPTION…: the plan, the command, its exit code, what is left.
show() {
  binary=$1
  shift
  echo '== the plan: what would be read and written'
  "$binary" plan "$@"
  echo
  echo '== run: a command with its files and its environment'
  out=$work/out
  code=0
  "$binary" run "$@" -- sh "$here/app.sh" >"$out" || code=$?
  cat "$out"
  dir=$(sed -n 's/^files in \(.*\), on .*/\1/p' "$out")
  echo
  echo "== afterwards"
  echo "the command's exit code was passed on: $code"
  if [ -n "$dir" ] && [ ! -e "$dir" ]; then
    echo "nothing is left: $dir is gone"
  else
    echo "something is left in '$dir'" >&2
    return 1
  fi
  [ "$code" = 3 ]
}

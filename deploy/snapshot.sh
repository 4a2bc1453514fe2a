#!/bin/sh
# Writes a snapshot whole or not at all, and keeps dated copies of the last ones.
#
#   snapshot.sh FILE.json FLAGS…
#   snapshot.sh /srv/overtag/snapshots/snapshot.json --release train --tag current-tripleo
#   snapshot.sh /srv/overtag/snapshots/snapshot.json --release train --tag current-tripleo --authfile /etc/overtag/auth.json
#
# FLAGS are those of `overtag snapshot`; --link takes a whole link of the page. KEEP=7 in the environment is how many dated
# copies stay beside the file; 0 keeps none. Where the registry could not be asked, the old file stays as it is, one line on
# standard error says why, and the exit status is overtag's: 2 wrong usage, 3 the registry.
set -eu

say() {
  echo "snapshot.sh: $*" >&2
}

file=${1:-}
case $file in
  *.json) shift ;;
  *) say "no file was given: snapshot.sh FILE.json FLAGS…"; exit 2 ;;
esac
keep=${KEEP:-7}
case $keep in
  *[!0-9]*) say "KEEP=$keep is no number"; exit 2 ;;
esac

# The web server reads it as another user.
umask 022

# overtag writes beside the file and then renames, so nobody ever reads half a snapshot. Its last line is the error.
# Each snapshot carries on the history of the tags from the one before.
if said=$(overtag snapshot "$@" --since "$file" --output "$file" 2>&1); then :; else
  status=$?
  error=$(printf '%s\n' "$said" | sed -n 's/^overtag: //p' | tail -n 1)
  say "${error:-$said}"
  exit "$status"
fi

# A copy is a second name of the same bytes: the next run puts another file in place of the first name alone.
[ "$keep" -eq 0 ] || ln -f -- "$file" "${file%.json}-$(date -u +%Y-%m-%dT%H%M%SZ).json"
set -- "${file%.json}"-[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9]*Z.json
while [ $# -gt "$keep" ] && [ -e "$1" ]; do
  rm -f -- "$1"
  shift
done

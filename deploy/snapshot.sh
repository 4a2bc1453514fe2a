#!/bin/sh
# Writes a snapshot whole or not at all, and keeps dated copies of the last ones.
#
#   snapshot.sh FILE.json FLAGS…
#   snapshot.sh /srv/overtag/snapshots/snapshot.json --release train --tag current-tripleo
#   snapshot.sh /srv/overtag/snapshots/snapshot.json --release train --tag current-tripleo --authfile /etc/overtag/auth.json
#
# FLAGS are those of `overtag snapshot`; --link takes a whole link of the page. KEEP=7 in the environment is how many dated
# copies stay beside the file; 0 keeps none. Whatever overtag reports goes to standard error. Where it fails, the old file stays
# as it is, and the exit status is overtag's: 2 wrong usage or an old file that cannot be read, 3 the registry.
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
  *[!0-9]*) say "KEEP=$keep is not a number"; exit 2 ;;
esac

# The web server reads it as another user.
umask 022

# overtag writes beside the file and then renames, so nobody ever reads half a snapshot.
# Each snapshot carries on the history of the tags from the one before; one that cannot be read is never written over.
status=0
output=$(overtag snapshot "$@" --since "$file" --output "$file" 2>&1) || status=$?
# Notices count on success too.
lines=$(printf '%s\n' "$output" | sed -n 's/^overtag: /snapshot.sh: /p')
if [ -n "$lines" ]; then
  printf '%s\n' "$lines" >&2
elif [ "$status" -ne 0 ]; then
  say "$output"
fi
[ "$status" -eq 0 ] || exit "$status"

# A copy is a second name of the same bytes: the next run puts another file in place of the first name alone.
[ "$keep" -eq 0 ] || ln -f -- "$file" "${file%.json}-$(date -u +%Y-%m-%dT%H%M%SZ).json"
set -- "${file%.json}"-[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9]*Z.json
while [ $# -gt "$keep" ] && [ -e "$1" ]; do
  rm -f -- "$1"
  shift
done

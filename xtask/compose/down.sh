#!/bin/bash
# down.sh: waits until standard input ends, which it does however the suite ends, and then removes what it has begun
# on the machine's own engine.
trap '' INT TERM HUP
echo ready
exec >&2
cat >/dev/null
docker compose down --volumes --remove-orphans --timeout 5

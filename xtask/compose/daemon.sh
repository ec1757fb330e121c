#!/bin/bash
# daemon.sh DIRECTORY [NAMESPACE]: runs dockerd until standard input ends, which it does however the suite ends, and
# then leaves no container, volume, mount or namespace behind. Images and the cache of builds stay in DIRECTORY/data.
#
# Without a namespace dockerd changes nothing of this machine's network: builds use it as it is. With one, everything
# runs in a network of its own, from which nothing leads out.
set -uo pipefail
directory=$1 namespace=${2:-}
run=$directory/run
mkdir -p "$run"
# Held by dockerd too.
exec 9>"$directory/lock"
flock --nonblock 9 || { echo "another run of this suite uses $directory" >&2; exit 1; }
# Ctrl-C is for the suite. When that has ended, this ends too.
trap '' INT TERM HUP

prefix=() network=(--bridge=none --iptables=false --ip6tables=false --ip-forward=false)
if [ -n "$namespace" ]; then
    ip netns add "$namespace" && ip -n "$namespace" link set lo up || exit 1
    # `ip netns exec` would mount another /sys, without the cgroups that dockerd needs.
    prefix=(nsenter "--net=/run/netns/$namespace") network=()
fi
rm -f "$run/docker.pid"
setsid "${prefix[@]}" setpriv --pdeathsig TERM -- dockerd --data-root "$directory/data" --exec-root "$run/exec" \
    --pidfile "$run/docker.pid" --host "unix://$run/docker.sock" "${network[@]}" </dev/null >>"$directory/dockerd.log" 2>&1 &
daemon=$!
export DOCKER_HOST=unix://$run/docker.sock
for _ in $(seq 300); do
    if docker version >/dev/null 2>&1; then
        docker ps -aq | xargs -r docker rm --force --volumes >/dev/null 2>&1
        docker volume prune --all --force >/dev/null 2>&1
        echo ready
        break
    fi
    kill -0 "$daemon" 2>/dev/null || break
    sleep 0.1
done
exec >&2
cat >/dev/null
docker ps -aq | xargs -r docker rm --force --volumes >/dev/null 2>&1
docker volume prune --all --force >/dev/null 2>&1
docker network prune --force >/dev/null 2>&1
pid=$(cat "$run/docker.pid" 2>/dev/null) && kill "$pid"
wait "$daemon"
grep -o " $directory[^ ]* " /proc/mounts | sort -r | xargs -r -n1 umount
if [ -n "$namespace" ]; then
    ip netns del "$namespace"
    # `ip netns add` has mounted it, for the first of them.
    [ -n "$(ls -A /run/netns)" ] || umount /run/netns
fi
rm -rf "$run"

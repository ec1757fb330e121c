#!/bin/bash
# base.sh FILE: Debian 12 as a root file system, which becomes debian:bookworm-slim. It trusts the certificates that
# this machine trusts, since builds in containers use the same registries.
set -euo pipefail
[ ! -e "$1" ] || exit 0
mirror=$(awk '/^URIs:.*\/debian\/?$/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources)
TMPDIR=/dev/shm mmdebstrap --quiet --variant=minbase --dpkgopt=force-unsafe-io --include=ca-certificates \
    --customize-hook='mkdir -p "$1/usr/local/share/ca-certificates"' \
    --customize-hook='for file in /usr/local/share/ca-certificates/*.crt /etc/apt/apt.conf.d/docker-*; do
        [ ! -e "$file" ] || cp "$file" "$1$file"; done' \
    --customize-hook='chroot "$1" update-ca-certificates >/dev/null' \
    --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*.bin' \
    --customize-hook='find "$1/usr/share/doc" "$1/usr/share/man" "$1/usr/share/locale" -type f -delete' \
    bookworm "$1.new.tar" "deb $mirror bookworm main" "deb $mirror bookworm-updates main" \
    "deb $mirror-security bookworm-security main"
mv "$1.new.tar" "$1"

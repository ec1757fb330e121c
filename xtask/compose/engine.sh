#!/bin/bash
# engine.sh DIRECTORY: unpacks Debian 13's Docker into DIRECTORY, and installs nothing of it. Its programs run on
# Debian 12 too; runc does not, so that one, iptables and mmdebstrap are installed.
set -euo pipefail
mkdir -p "$1"
cd "$1"
directory=$PWD
missing=()
for program in runc iptables mmdebstrap ip; do
    command -v "$program" >/dev/null || missing+=("${program/%ip/iproute2}")
done
if [ ${#missing[@]} -gt 0 ]; then
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${missing[@]}"
fi
[ ! -e complete ] || exit 0

mirror=$(awk '/^URIs:.*\/debian\/?$/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources)
mkdir -p apt/lists/partial apt/cache/archives/partial debs root bin config/cli-plugins
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror trixie main" > apt/sources.list
apt=(apt-get -qq -o "Dir::Etc::SourceList=$PWD/apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null
    -o "Dir::State::Lists=$PWD/apt/lists" -o "Dir::Cache=$PWD/apt/cache"
    -o APT::Sandbox::User=root -o Acquire::Languages=none)
"${apt[@]}" update
(cd debs && "${apt[@]}" download docker.io docker-cli docker-compose docker-buildx containerd tini)
for package in debs/*.deb; do dpkg-deb -x "$package" root; done
rm -rf apt debs
for program in sbin/dockerd sbin/docker-proxy bin/docker bin/containerd bin/containerd-shim-runc-v2; do
    ln -sf "$directory/root/usr/$program" bin/
done
ln -sf "$directory/root/usr/bin/tini-static" bin/docker-init
ln -sf "$directory"/root/usr/libexec/docker/cli-plugins/* config/cli-plugins/
touch complete

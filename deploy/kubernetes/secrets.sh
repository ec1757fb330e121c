#!/bin/sh
# Prints the Secrets `chat-nats` and `chat-auth` with fresh passwords and keys. Once for each deployment:
#
#   CHAT="docker run --rm registry.example/chat:0.1.0" deploy/kubernetes/secrets.sh |
#     kubectl --namespace chat create -f -
set -eu

# As in a file of variables: NAME=VALUE.
keys=$(${CHAT:-chat} keys)
# Begins with a letter: nats-server would take digits for a number.
password() { printf p; head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
secret() { printf '%s\n' '---' 'apiVersion: v1' 'kind: Secret' 'metadata:' "  name: $1" 'stringData:'; }
listed() { printf '%s\n' "$keys" | sed -n "s/^\($1_AUTH_[A-Z_]*\)=\(.*\)/  \1: \2/p"; }

secret chat-nats
listed NATS_CONF
for user in SEND HISTORY PERSIST PAGE CHAT SETUP DEAD OPERATOR BACKEND AUTH AUTH_OPERATOR SYS KICK; do
    printf '  NATS_CONF_PASSWORD_%s: %s\n' "$user" "$(password)"
done
secret chat-auth
listed CHAT

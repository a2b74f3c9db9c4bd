#!/bin/sh
# Makes the keys of a development deployment in a folder, each where there is none yet, for its owner alone:
#
#   make-keys.sh FOLDER [UID:GID]
#
# UID:GID is whom they are to belong to, when root makes them for another user.
set -eu
umask 077

folder=$1
owner=${2:-}
mkdir -p "$folder"

# make NAME COMMAND...: what the command prints becomes the file, whole or not at all.
make() {
  file="$folder/$1"
  shift
  [ -e "$file" ] && return
  "$@" >"$file.new"
  mv "$file.new" "$file"
}

# What the broker needs (docs/operations.md).
make session-signing.pem openssl genpkey -algorithm ed25519
make audit-signing.pem openssl genpkey -algorithm ed25519
make kek openssl rand -base64 32

# What stands in for others: the issuer of operators' tokens (dev/operator-token.ts) and the cluster that vouches for workloads
# (dev/workload-token.ts).
make operator.pem openssl genpkey -algorithm ed25519
make operator.pub.pem openssl pkey -in "$folder/operator.pem" -pubout
make workloads.pem openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048
make workloads.pub.pem openssl pkey -in "$folder/workloads.pem" -pubout

[ -z "$owner" ] || chown -R "$owner" "$folder"

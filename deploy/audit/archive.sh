#!/bin/sh
# Keeps the audit log where nobody who can write to ASB's database can change it: exports what was sealed since the last time, saves the
# checkpoints, and verifies the chain by all checkpoints that were ever saved. For a cron job on a machine of the auditors:
#
#   ASB_POSTGRES_DSN=postgres://asb_auditor:…@HOST/asb archive.sh FOLDER PUBLIC_KEYS
#
# FOLDER gets one events-TIME.jsonl for each run that found some, checkpoints.jsonl, and the cursor of the next run. PUBLIC_KEYS is a
# PEM file with the public half of every key that ever signed. Exit code: 0; 1 it could not be done; 2 a chain is not intact.
set -eu
umask 077

folder=$1
keys=$2
root=$(cd "$(dirname "$0")/../.." && pwd)
events="$folder/events-$(date -u +%Y%m%dT%H%M%SZ).jsonl"

audit() {
  "${NODE:-node}" "$root/src/main/audit.ts" "$@"
}

# What begins with a dot is not finished.
if [ -s "$folder/cursor" ]; then set -- --after "@$folder/cursor"; else set --; fi
audit export "$@" >"$folder/.events" 2>"$folder/.cursor" || { cat "$folder/.cursor" >&2; exit 1; }
if [ -s "$folder/.events" ]; then mv "$folder/.events" "$events"; else rm "$folder/.events"; fi
tail -n 1 "$folder/.cursor" >"$folder/.next"
mv "$folder/.next" "$folder/cursor"
rm "$folder/.cursor"

audit checkpoints >"$folder/.checkpoints"
touch "$folder/checkpoints.jsonl"
# Those that are new.
grep -vxFf "$folder/checkpoints.jsonl" "$folder/.checkpoints" >>"$folder/checkpoints.jsonl" || true
rm "$folder/.checkpoints"

[ -s "$folder/checkpoints.jsonl" ] || exit 0
audit verify --public-key "$keys" --checkpoint "$folder/checkpoints.jsonl"

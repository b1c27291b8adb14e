#!/bin/sh
# Print .env.example with a password of its own in every line. A letter first: see README.md.
set -eu
while IFS= read -r line; do
    case $line in
    *=) printf '%sp%s\n' "$line" "$(openssl rand -hex 24)" ;;
    *) printf '%s\n' "$line" ;;
    esac
done <"$(dirname "$0")/.env.example"

#!/bin/sh
# Writes requirements.lock: every dependency of the package, its extras and its developers, for every platform, with hashes.
set -eu
cd "$(dirname "$0")/.."
compiled=$(mktemp)
trap 'rm -f "$compiled"' EXIT
.venv/bin/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --extra postgres --group dev \
    --no-header --no-emit-index-url --no-emit-find-links pyproject.toml "$@" --output-file "$compiled"
{
    echo "# Written by 'make lock' from pyproject.toml; do not edit."
    cat "$compiled"
} >requirements.lock

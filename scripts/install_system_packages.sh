#!/bin/sh
# Installs the Debian packages the suite needs, and does nothing when they are there.
set -eu

missing=""
[ -x /usr/lib/postgresql/15/bin/postgres ] || missing="$missing postgresql-15"
[ -x /usr/sbin/pgbouncer ] || missing="$missing pgbouncer"
[ -x /usr/bin/setpriv ] || missing="$missing util-linux"
[ -x /usr/bin/openssl ] || missing="$missing openssl"
python=${PYTHON:-python3}
"$python" -c 'import ensurepip' 2>/dev/null || missing="$missing python3-venv"
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "Roost's tests need these Debian 12 packages, and apt-get is not here to install them:$missing" >&2
    exit 1
fi
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "Roost's tests need these packages; ask an administrator to run: apt-get install$missing" >&2
        exit 1
    fi
    as_root="sudo"
fi
echo "Installing$missing"
$as_root apt-get update -qq
# shellcheck disable=SC2086 # the list is meant to split, and as_root may be empty
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing

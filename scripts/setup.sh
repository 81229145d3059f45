#!/usr/bin/env bash
# Makes .venv and installs aotiny from this checkout into it, with the extras named by $1
# ("demo" or "test"). On Debian-like systems, missing build tools are installed first.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(g++ cmake ninja-build pkg-config binutils libsleef-dev nlohmann-json3-dev libgtest-dev
  python3-venv python3-dev)
if command -v dpkg-query >/dev/null; then
  missing=()
  for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  if ((${#missing[@]})); then
    echo "== installing Debian packages: ${missing[*]}"
    sudo=()
    [[ $(id -u) == 0 ]] || sudo=(sudo)
    "${sudo[@]}" apt-get update -qq
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  fi
fi

[[ -x .venv/bin/python ]] || python3 -m venv .venv
echo "== installing aotiny[$1] (downloads torch and compiles aotiny: a few minutes)"
.venv/bin/pip install --quiet --disable-pip-version-check ".[$1]"

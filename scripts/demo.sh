#!/usr/bin/env bash
# Installs aotiny with all it needs into .venv and runs `aotiny demo`; arguments go to the demo.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh demo
.venv/bin/aotiny demo "$@"

#!/usr/bin/env bash
# Installs aotiny with all it needs into .venv and runs every test: gtest first, then pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh test
cmake -S . -B build/test -G Ninja -DCMAKE_BUILD_TYPE=Release -DAOTINY_TESTS=ON \
  -DPython_EXECUTABLE="$PWD/.venv/bin/python" >/dev/null
cmake --build build/test
ctest --test-dir build/test --output-on-failure
.venv/bin/pytest -q tests/python

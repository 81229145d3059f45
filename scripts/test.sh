#!/usr/bin/env bash
# Installs aotiny with all it needs into .venv and runs every test: gtest, pytest, and then those of
# bad input, failures and threads once more with sanitizers.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh test
cmake -S . -B build/test -G Ninja -DCMAKE_BUILD_TYPE=Release -DAOTINY_TESTS=ON >/dev/null
cmake --build build/test
echo "== compiling the packages that tests load"
export AOTINY_TEST_PACKAGES=$PWD/build/packages
.venv/bin/python tests/python/models.py "$AOTINY_TEST_PACKAGES"
ctest --test-dir build/test --output-on-failure
.venv/bin/pytest -q tests/python
bash scripts/test_sanitizers.sh

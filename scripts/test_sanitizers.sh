#!/usr/bin/env bash
# Runs the tests of bad input, failures and threads with AddressSanitizer, leak detection and
# UndefinedBehaviorSanitizer: those in C++, and the modules of pytest below. Builds in build/asan;
# needs the .venv that `scripts/setup.sh test` makes. AOTINY_PYTHON_ENV names another environment.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${AOTINY_PYTHON_ENV:-.venv}/bin/python
python=$(cd "$(dirname "$python")" && pwd)/python
build=$PWD/build/asan
export AOTINY_TEST_PACKAGES=$PWD/build/packages
export UBSAN_OPTIONS=print_stacktrace=1
part() { echo "== $1 (after $SECONDS s)"; }

part "building"
"$python" -c "import pybind11" 2>/dev/null ||
  "$python" -m pip install --quiet --disable-pip-version-check "pybind11>=3.0,<4"
cmake --preset asan -DAOTINY_PYTHON=ON -DCMAKE_INSTALL_LIBDIR=lib \
  -DPython_EXECUTABLE="$python" -Dpybind11_DIR="$("$python" -m pybind11 --cmakedir)" >/dev/null
cmake --build --preset asan
rm -rf "$build/site"
cmake --install "$build" --prefix "$build/site/aotiny" >/dev/null
cp -r python/aotiny/. "$build/site/aotiny"

part "compiling the packages that the tests load"
"$python" tests/python/models.py "$AOTINY_TEST_PACKAGES"

part "gtest"
ctest --preset asan -j "$(nproc)" -E test_gemm

part "pytest"
# The interpreter is not instrumented: the sanitizers' libraries come first by LD_PRELOAD, and what
# Python itself leaves behind when it ends is not reported. The C++ tests above detect leaks.
libraries=$(for name in libasan.so libubsan.so libstdc++.so; do g++ -print-file-name=$name; done)
modules=()
for name in tensor read_only package model c_api quant; do
  modules+=("tests/python/test_$name.py")
done
env LD_PRELOAD="${libraries//$'\n'/:}" PYTHONPATH="$build/site" PYTHONMALLOC=malloc \
  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 OMP_WAIT_POLICY=passive \
  "$python" -m pytest -q -p no:cacheprovider "${modules[@]}"
part "done"

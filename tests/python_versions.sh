#!/usr/bin/env bash
# Runs the tests that need no Ray with each Python that pyproject.toml admits, as python3.10 on PATH.
#
# tests/python_versions.sh                                      all of them, tests/mygo
# PYTHONS="3.12 3.13" tests/python_versions.sh tests/mygo/data       others, or fewer
#
# Each has an environment of its own, removed at the end, with the versions in constraints.txt; of some 6 GB where the
# registry has torch for CUDA only.
set -euo pipefail
cd "$(dirname "$0")/.."
bounds=$(sed -n 's/^requires-python = ">=3\.\([0-9]*\),<3\.\([0-9]*\)"$/\1 \2/p' pyproject.toml) # >=3.10,<3.14
read -r oldest next <<<"$bounds"
read -ra pythons <<<"${PYTHONS:-$(seq -f 3.%g -s ' ' "$oldest" "$((next - 1))")}"
[ $# -gt 0 ] || set -- tests/mygo
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0
for version in "${pythons[@]}"; do
  rm -rf "$folder/env"
  "python$version" -m venv "$folder/env"
  "$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
    --editable '.[export]' hypothesis pytest pytest-timeout pytest-xdist
  if OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} "$folder/env/bin/python" -m pytest -q -n auto --dist loadfile -p no:cacheprovider "$@"; then
    echo "Python $version: passed"
  else
    echo "Python $version: FAILED"
    failed=1
  fi
done
exit "$failed"

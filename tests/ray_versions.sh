#!/usr/bin/env bash
# Runs the tests that lean on Ray's insides with the oldest and the newest Ray that pyproject.toml admits.
#
# tests/ray_versions.sh                  both
# tests/ray_versions.sh ==2.57.* ==2.58.1    others
#
# Each has an environment of its own, of 2 GB, which is removed at the end. What is pinned beside Ray stays pinned.
set -euo pipefail
cd "$(dirname "$0")/.."
admitted=$(sed -n 's/^ray = .*"ray\[[a-z,]*\]\([^"]*\)".*/\1/p' pyproject.toml) # >=2.56,<2.61
oldest=${admitted#>=}
[ $# -gt 0 ] || set -- "==${oldest%%,*}.*" "$admitted"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failed=0
for version in "$@"; do
  rm -rf "$folder/env"
  "${PYTHON:-python3}" -m venv "$folder/env"
  { grep -v '^ray==' constraints.txt && echo "ray$version"; } >"$folder/constraints.txt"
  "$folder/env/bin/python" -m pip install --quiet --disable-pip-version-check --constraint "$folder/constraints.txt" \
    --editable '.[ray,dev]'
  found=$("$folder/env/bin/python" -c 'import ray; print(ray.__version__)')
  if RAY_ADDRESS=local "$folder/env/bin/python" -m pytest -q \
    tests/distributed/cluster/test_{ray_internals,capacity,session}.py tests/distributed/training; then
    echo "Ray $found: passed"
  else
    echo "Ray $found: FAILED"
    failed=1
  fi
done
exit "$failed"

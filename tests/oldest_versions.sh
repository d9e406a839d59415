#!/usr/bin/env bash
# Runs the tests that need no Ray with the oldest version of each package that pyproject.toml admits.
#
# tests/oldest_versions.sh                          tests/mygo
# tests/oldest_versions.sh tests/mygo/networks      others, or fewer
#
# The environment is one of its own, of some 7 GB where the registry has torch for CUDA only, and is removed at the end.
# What neither pyproject.toml names nor a package asks for is of any version. Set KEEP=1 to have the environment stay.
set -euo pipefail
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- tests/mygo
folder=$(mktemp -d)
[ "${KEEP:-}" = 1 ] || trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
python=$folder/env/bin/python
$python -m pip install --quiet --disable-pip-version-check tomli
# The lower bounds of the library and of its exports: numpy>=1.26 becomes numpy==1.26, which is 1.26.0.
$python - >"$folder/constraints.txt" <<'END'
import re
from pathlib import Path

import tomli

project = tomli.loads(Path("pyproject.toml").read_text())["project"]
for requirement in (*project["dependencies"], *project["optional-dependencies"]["export"]):
    name, bound = re.match(r"([\w-]+)[>=]=([\d.]+)", requirement).groups()
    print(f"{name}=={bound}")
END
cat "$folder/constraints.txt"
$python -m pip install --quiet --disable-pip-version-check --constraint "$folder/constraints.txt" \
  --editable '.[export]' hypothesis pytest pytest-timeout pytest-xdist
OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} $python -m pytest -q -n auto --dist loadfile -p no:cacheprovider "$@"

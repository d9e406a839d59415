#!/usr/bin/env bash
# Does what Dockerfile says, without Docker: its COPY and pip lines in a fresh folder with a fresh environment, and then
# starts what the image is for.
#
# The environment is of some 7 GB where the registry has torch for CUDA only, and is removed at the end; KEEP=1 has it
# stay. What needs root, or the image itself, is left out and named.
set -euo pipefail
cd "$(dirname "$0")/../.."
repository=$PWD
folder=$(mktemp -d)
[ "${KEEP:-}" = 1 ] || trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/env"
export PATH=$folder/env/bin:$PATH PYTHONPATH=$folder/app
mkdir "$folder/app"
cd "$folder/app"

# Lines that end in a backslash go on in the next one.
sed -e '/^#/d' -e ':a' -e '/\\$/{N;s/\\\n//;ba' -e '}' "$repository/Dockerfile" >"$folder/lines"
while read -r instruction rest; do
  case $instruction in
    ARG) export "$rest" ;;
    COPY)
      read -ra words <<<"$rest"
      target=${words[-1]}
      for source in "${words[@]::${#words[@]}-1}"; do
        if [ "$target" = ./ ]; then
          cp "$repository/$source" .
        else
          mkdir -p "$(dirname "$target")"
          cp -rT "$repository/$source" "$target"
        fi
      done
      ;;
    RUN)
      if [[ $rest == "python -m pip "* ]]; then
        echo "RUN $rest"
        bash -o pipefail -c "$rest"
      else
        echo "left out: RUN $rest"
      fi
      ;;
    CMD) serve=$rest ;;
    *) [ -z "$instruction" ] || echo "left out: $instruction $rest" ;;
  esac
done <"$folder/lines"

python -m pip check
cd "$folder" # what is started is found by PYTHONPATH, not by the working folder
python - <<END
import distributed.serving.app, distributed.run, mygo, tune

for module in (distributed, mygo, tune):
    assert list(module.__path__) == ["$folder/app/" + module.__name__], module.__path__
END
ray --version
for script in distributed/serve.py distributed/run.py tune/sweep.py; do
  echo "$script --help"
  python "$folder/app/$script" --help >/dev/null
done
mygo --help >/dev/null

# The image's own command is refused without a token, and says what to do.
cd "$folder/app"
mapfile -t command < <(python -c 'import json, sys; print(*json.loads(sys.argv[1]), sep="\n")' "$serve")
code=0
said=$(env -u MYGO_TOKEN "${command[@]}" 2>&1) || code=$?
echo "$said"
[ "$code" = 2 ] && [[ $said == *MYGO_TOKEN* ]]
echo "Dockerfile: its commands do what they say"

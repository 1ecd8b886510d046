#!/bin/bash
# mlserver.sh VENV PORT: MLServer with the kit's models. VENV is an environment with mlserver.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PYTHONPATH=$here
"$1/bin/python" "$here/mlserver_models.py" "$work" "$2"
cd "$work"
"$1/bin/mlserver" start "$work"

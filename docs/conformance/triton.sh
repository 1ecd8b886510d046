#!/bin/bash
# triton.sh VENV PORT: Triton of the wheel nvidia-pytriton, with the kit's models on its Python backend.
# VENV is an environment with that wheel; QUADRIGA is the quadriga command (default: on the PATH).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=$1 port=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
${QUADRIGA:-quadriga} zoo conformance --repository "$work/models" >/dev/null 2>&1
for model in "$work"/models/*/; do
  rm "$model/1/model.onnx"
  sed -i 's/^platform: .*/backend: "python"/' "$model/config.pbtxt"
  cp "$here/triton_model.py" "$model/1/model.py"
  cp "$here/known_models.py" "$model/1/"
done
# The wheel keeps the Python backend and its stubs apart; the server wants them in one folder.
tree=$(echo "$venv"/lib/python3.*/site-packages/pytriton/tritonserver)
version=$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
mkdir -p "$work/backends/python"
cp "$tree/backends/python/triton_python_backend_utils.py" "$work/backends/python/"
# Links, since both find the wheel's libraries from where they lie.
ln -s "$tree/backends/python/libtriton_python.so" "$tree/python_backend_stubs/$version/triton_python_backend_stub" \
  "$work/backends/python/"
export LD_LIBRARY_PATH=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))')
unset PYTHONHOME PYTHONPATH
PATH=$venv/bin:$PATH "$tree/bin/tritonserver" --model-repository="$work/models" --backend-directory="$work/backends" \
  --disable-auto-complete-config --grpc-address=127.0.0.1 --grpc-port="$port" --allow-http=false --allow-metrics=false \
  --model-control-mode=explicit --load-model='*' --exit-timeout-secs=3 ${TRITON_EXTRA:-}

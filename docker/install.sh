#!/bin/sh
# Installs requirements.txt into /opt/quadriga, while an image is built.
# With TORCH_INDEX set, torch comes from there, or from a wheel in /wheels where one lies: PyPI's own build brings CUDA.
set -eu
into="pip --python /opt/quadriga/bin/python install --quiet"
if [ -n "${TORCH_INDEX:-}" ]; then
    if ls /wheels/torch-*.whl >/dev/null 2>&1; then
        $into --no-deps --no-index --find-links /wheels torch
    else
        $into --no-deps --index-url "$TORCH_INDEX" torch
    fi
fi
$into --requirement requirements.txt
# Headers, tests, debugging symbols and tools for other work are of no use to a server, and make up a quarter of it.
cd /opt/quadriga/lib/python3*/site-packages
rm -rf tensorflow/include torch/include torch/test clang \
    onnxruntime/quantization onnxruntime/tools onnxruntime/transformers
# The runtime a second time, for programs in C: the module for Python has its own.
[ -e onnxruntime/capi/libonnxruntime_providers_cuda.so ] || rm -f onnxruntime/capi/libonnxruntime.so.*
find . -path './torch/bin/*' ! -name torch_shm_manager -delete
find . -path ./torch -prune -o -path ./tensorflow -prune -o -type d -name tests -prune -exec rm -rf {} +
find . \( -path './ml_dtypes/*.so' -o -path './uvloop/*.so' \) -exec strip --strip-debug {} +

"""A model of Triton's Python backend that is any of the kit's. Runs in Triton's stub process."""

import json
from typing import Any

import triton_python_backend_utils as backend
from known_models import compute


class TritonPythonModel:
    """One of the models, by its configured name."""

    def initialize(self, args: dict[str, str]) -> None:
        """Reads the tensors' names."""
        self._config: dict[str, Any] = json.loads(args["model_config"])

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answers each request."""
        responses = []
        for request in requests:
            arrays = [
                backend.get_input_tensor_by_name(request, tensor["name"]).as_numpy() for tensor in self._config["input"]
            ]
            outputs = zip(self._config["output"], compute(self._config["name"], arrays), strict=True)
            tensors = [backend.Tensor(tensor["name"], array) for tensor, array in outputs]
            responses.append(backend.InferenceResponse(tensors))
        return responses

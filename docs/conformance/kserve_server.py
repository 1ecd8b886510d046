"""The kit's models on the KServe SDK's model server: `python kserve_server.py PORT`. Runs in KServe's process.

PORT carries gRPC, the one after it HTTP. The SDK listens on every address of the machine.
"""

import sys
from typing import Any

from known_models import MODELS, compute
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.errors import InvalidInput


class KnownModel(Model):
    """One of the models, by its name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.ready = True

    def get_input_types(self) -> list[dict[str, Any]]:
        """What ModelMetadata shows."""
        return _described(MODELS[self.name][0])

    def get_output_types(self) -> list[dict[str, Any]]:
        """Likewise."""
        return _described(MODELS[self.name][1])

    def predict(self, payload: InferRequest, headers: Any = None, response_headers: Any = None) -> InferResponse:  # noqa: ANN401
        """Takes the inputs by name; answers in raw contents where the request came so."""
        inputs, outputs = MODELS[self.name]
        sent = {tensor.name: tensor for tensor in payload.inputs}
        if set(sent) != {name for name, _, _ in inputs}:
            raise InvalidInput(f"the inputs are {sorted(sent)}")
        arrays = [sent[name].as_numpy() for name, _, _ in inputs]
        wanted = {output.name for output in payload.request_outputs or ()}
        tensors = []
        for (name, datatype, _), array in zip(outputs, compute(self.name, arrays), strict=True):
            if wanted and name not in wanted:
                continue
            tensor = InferOutput(name=name, shape=list(array.shape), datatype=datatype)
            tensor.set_data_from_numpy(array, binary_data=True)
            tensors.append(tensor)
        return InferResponse(response_id=payload.id, model_name=self.name, infer_outputs=tensors)


def _described(tensors: Any) -> list[dict[str, Any]]:  # noqa: ANN401
    return [{"name": name, "datatype": datatype, "shape": shape} for name, datatype, shape in tensors]


if __name__ == "__main__":
    port = int(sys.argv.pop())
    ModelServer(http_port=port + 1, grpc_port=port, workers=1).start([KnownModel(name) for name in MODELS])

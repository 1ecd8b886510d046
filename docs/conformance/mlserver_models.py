"""The kit's models for MLServer, and their settings. Runs in MLServer's process; as a script it writes the settings.

As a script: `python mlserver_models.py FOLDER PORT`; PORT carries gRPC, the two after it HTTP and metrics.
"""

import json
import sys
from pathlib import Path
from typing import Any

from known_models import MODELS, compute
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse


class KnownModel(MLModel):
    """One of the models, by its configured name."""

    async def load(self) -> bool:
        """Has nothing to load."""
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Decodes the inputs by name, as MLServer's codecs do."""
        inputs, outputs = MODELS[self.name]
        sent = {tensor.name: tensor for tensor in payload.inputs}
        if set(sent) != {name for name, _, _ in inputs}:
            raise InferenceError(f"the inputs are {sorted(sent)}")
        codec: Any = StringCodec if inputs[0][1] == "BYTES" else NumpyCodec
        arrays = [codec.decode_input(sent[name]) for name, _, _ in inputs]
        wanted = {output.name for output in payload.outputs or ()}
        answers = zip(outputs, compute(self.name, arrays), strict=True)
        tensors = [codec.encode_output(name, array) for (name, _, _), array in answers if not wanted or name in wanted]
        if codec is StringCodec:
            # The codec makes a column of any strings.
            tensors[0].shape = sent["x"].shape
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=tensors)


def write_settings(folder: Path, port: int) -> None:
    """The server's settings and one folder per model."""
    ports = {"grpc_port": port, "http_port": port + 1, "metrics_port": port + 2}
    server = {"host": "127.0.0.1", **ports, "parallel_workers": 0, "grpc_max_message_length": 64 * 1024 * 1024}
    (folder / "settings.json").write_text(json.dumps(server))
    for name, (inputs, outputs) in MODELS.items():
        described: dict[str, Any] = {
            kind: [{"name": tensor, "datatype": datatype, "shape": shape} for tensor, datatype, shape in tensors]
            for kind, tensors in (("inputs", inputs), ("outputs", outputs))
        }
        settings = {
            "name": name,
            "implementation": "mlserver_models.KnownModel",
            "versions": ["1"],
            "parameters": {"version": "1"},
            "platform": "numpy_none",
            **described,
        }
        (folder / name).mkdir()
        (folder / name / "model-settings.json").write_text(json.dumps(settings))


if __name__ == "__main__":
    write_settings(Path(sys.argv[1]), int(sys.argv[2]))

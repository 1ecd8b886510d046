"""A session of KServe's own client with a server, run by a Python that has `kserve`; prints what it got as JSON.

`kserve` cannot share an environment with the frameworks: it wants an older numpy.

    python kserve_session.py HOST:PORT
"""

import asyncio
import json
import sys
from typing import Any

import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest


def request(model: str, array: "np.ndarray[Any, Any]", datatype: str, *, binary: bool) -> InferRequest:
    """One with an id and a version, in raw or in typed contents."""
    tensor = InferInput("x", list(array.shape), datatype)
    tensor.set_data_from_numpy(array, binary_data=binary)
    return InferRequest(model, [tensor], request_id="an id", model_version="1")


async def session(address: str) -> dict[str, Any]:
    """What the client says of the server and gets from it."""
    numbers = np.arange(8, dtype=np.float32).reshape(2, 4)
    words = np.array([[b"a", b"", b"\xff"]], dtype=object)
    async with InferenceGRPCClient(address) as client:
        seen: dict[str, Any] = {
            "live": await client.is_server_live(),
            "ready": await client.is_server_ready(),
            "model": await client.is_model_ready("numbers"),
            "unknown": await client.is_model_ready("unknown"),
        }
        for binary in (True, False):
            response = await client.infer(request("numbers", numbers, "FP32", binary=binary))
            seen[f"numbers, raw {binary}"] = response.outputs[0].as_numpy().tolist()
            seen["id"], seen["version"] = response.id, response.model_version
        response = await client.infer(request("words", words, "BYTES", binary=True))
        seen["words"] = [element.hex() for element in response.outputs[0].as_numpy().ravel().tolist()]
        try:
            await client.infer(request("numbers", numbers[:, :3], "FP32", binary=True))
        except Exception as error:
            seen["refused"] = str(error)
    return seen


if __name__ == "__main__":
    print(json.dumps(asyncio.run(session(sys.argv[1]))))

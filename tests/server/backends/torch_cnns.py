"""CNNs as TorchScript meets them: what Keras exports, and graphs that must not be rewritten carelessly."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn


def keras_cast(x: Any) -> Any:
    """The casts that Keras has around every operation."""
    return x.to(torch.float32).to(dtype=torch.float32, device="cpu")


class LikeKeras(nn.Module):  # type: ignore[misc]
    """Casts, batch normalisation as arithmetic in place, sums, a depthwise convolution and a view."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.first, self.second = (nn.Conv2d(channels, 8, 3, padding=1, bias=False) for channels in (3, 8))
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, stride=2, groups=8)
        self.moments = nn.ParameterList([torch.rand(8) + 0.5 for _ in range(4)])
        self.dense = nn.Parameter(torch.rand(8 * 6 * 6, 5))

    def normalise(self, x: Any) -> Any:
        mean, variance, scale, offset = (moment.reshape(1, 8, 1, 1) for moment in self.moments)
        return (x - mean).mul_((variance + 1e-3).rsqrt_() * scale).add_(offset)

    def forward(self, x: Any) -> Any:
        x = keras_cast(x.permute(0, 3, 1, 2))
        x = torch.relu(keras_cast(self.normalise(keras_cast(keras_cast(self.first(x)) + 0.5))))
        x = torch.relu(keras_cast(keras_cast(self.second(x)) + keras_cast(x)))
        x = nn.functional.relu6(self.depthwise(x))
        return torch.softmax(x.contiguous().view(x.shape[0], -1) @ self.dense, -1)


class Broadcast(LikeKeras):
    """A sum of a convolution with a tensor of another shape."""

    def forward(self, x: Any) -> Any:
        x = x.permute(0, 3, 1, 2)
        return torch.relu(self.first(x) + self.first(x).mean((2, 3), keepdim=True)).mean((2, 3))


class InPlace(LikeKeras):
    """A convolution's input that is changed before its activation is computed."""

    def forward(self, x: Any) -> Any:
        x = x.permute(0, 3, 1, 2)
        y = x * 2
        view = y[:, :1]
        z = self.first(y)
        view.mul_(-3)
        return (torch.relu(z).mean((2, 3)) + y.mean()).contiguous()


class Casting(LikeKeras):
    """Casts that do compute something, and one that makes a copy."""

    def forward(self, x: Any) -> Any:
        x = (x.permute(0, 3, 1, 2) * 7).to(torch.int32).to(torch.float32)
        x = self.first(x.to(torch.float64).to(torch.float32).to(torch.float32, copy=True))
        return (torch.relu(x).double().mean((2, 3)) * 0.1).to(torch.float32)


def modules() -> dict[str, Any]:
    """Each CNN by name."""
    return {"like_keras": LikeKeras(), "broadcast": Broadcast(), "in_place": InPlace(), "casting": Casting()}


def save(module: Any, path: Path, example: Any) -> None:
    """Traced and frozen, with its contract embedded, as our exporter does."""
    tensor = torch.from_numpy(example)
    with torch.inference_mode():
        frozen = torch.jit.freeze(torch.jit.trace(module.eval(), tensor, check_trace=False))
        output = module(tensor)
    metadata = {
        "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, *tensor.shape[1:]]}],
        "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, *output.shape[1:]]}],
    }
    torch.jit.save(frozen, str(path), _extra_files={"quadriga.json": json.dumps(metadata)})

"""The CNN in PyTorch: an `nn.Module` and a training loop of its own. In zoo jobs."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from quadriga_zoo.datasets import Dataset, Images
from quadriga_zoo.networks import INPUT, OUTPUT, Epoch, Hyperparameters, Report


class ConvolutionalNetwork(nn.Module):
    """The Keras network's layers, ending in log-probabilities; takes NHWC images as the others do."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 32, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 16, 3),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(16 * 6 * 6, classes)

    def forward(self, image: Any) -> Any:  # noqa: ANN401
        """[n, 32, 32, 3] -> [n, classes]."""
        return nn.functional.log_softmax(self.classifier(self.features(image.permute(0, 3, 1, 2))), dim=1)


def train(dataset: Dataset, hyper: Hyperparameters, report: Report) -> ConvolutionalNetwork:
    """Trains with negative log-likelihood and Adam."""
    torch.manual_seed(hyper.seed)
    network = ConvolutionalNetwork(len(dataset.labels))
    optimizer = torch.optim.Adam(network.parameters(), lr=hyper.learning_rate)
    images, labels = torch.from_numpy(dataset.train_images), torch.from_numpy(dataset.train_labels)
    for number in range(1, hyper.epochs + 1):
        started = time.perf_counter()
        losses = []
        network.train()
        for batch in torch.randperm(len(images)).split(hyper.batch_size):
            loss = nn.functional.nll_loss(network(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        seconds = time.perf_counter() - started
        right = predict(network, dataset.test_images).argmax(axis=1) == dataset.test_labels
        report(Epoch(number=number, loss=float(np.mean(losses)), accuracy=float(right.mean()), seconds=seconds))
    return network


def predict(network: ConvolutionalNetwork, images: Images) -> Images:
    """The log-probabilities."""
    network.eval()
    with torch.inference_mode():
        scores: Images = network(torch.from_numpy(images)).numpy()
    return scores


def export_onnx(network: ConvolutionalNetwork, path: Path) -> None:
    """Writes an ONNX file with an open batch dimension."""
    example = torch.zeros(2, 32, 32, 3)
    torch.onnx.export(
        network.eval(),
        (example,),
        str(path),
        input_names=[INPUT],
        output_names=[OUTPUT],
        dynamic_shapes=({0: torch.export.Dim("rows")},),
        dynamo=True,
        external_data=False,
        verbose=False,
    )

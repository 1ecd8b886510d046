"""`quadriga status`: the models of a running server. Runs in the command's own process."""

import json
from typing import Any

import click

from quadriga.commands.connection import Target, connection, target_options
from quadriga.commands.console import output_console
from quadriga.commands.table import ModelRow, model_table
from quadriga_client import ModelStatus, TensorMetadata


@click.command(context_settings={"show_default": True})
@target_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of the table.")
def status(target: Target, as_json: bool) -> None:
    """Show the models of a running server: versions, formats, backends, devices, tensors and states."""
    with connection(target) as client:
        ready = client.ready()
        models = client.status()
    if as_json:
        click.echo(json.dumps({"url": target.url, "ready": ready, "models": [document(model) for model in models]}))
        return
    if models:
        output_console().print(model_table(map(row, models)))
    else:
        click.echo(f"the server at {target.url} has no models")


def row(model: ModelStatus) -> ModelRow:
    """One version as the table shows it; other servers than Quadriga leave cells empty."""
    metadata = model.metadata
    if metadata is None:
        return ModelRow(model=model.model, version=model.version, state=model.state, reason=model.reason)
    properties = metadata.properties
    return ModelRow(
        model=model.model,
        version=model.version,
        format=properties.get("format", metadata.platform),
        backend=properties.get("backend", ""),
        device=properties.get("device", ""),
        inputs=", ".join(map(str, metadata.inputs)),
        outputs=", ".join(map(str, metadata.outputs)),
        load_ms=float(properties["load_ms"]) if "load_ms" in properties else None,
        state=model.state,
        reason=model.reason,
    )


def document(model: ModelStatus) -> dict[str, Any]:
    """One version for programs."""
    entry: dict[str, Any] = {
        "model": model.model,
        "version": model.version,
        "state": model.state,
        "reason": model.reason,
    }
    if model.metadata is not None:
        shown = row(model)
        entry |= {
            "platform": model.metadata.platform,
            "format": shown.format,
            "backend": shown.backend,
            "device": shown.device,
            "load_ms": shown.load_ms,
            "max_batch_size": model.metadata.max_batch_size,
            "labels": list(model.metadata.labels),
            "inputs": [tensor_document(tensor) for tensor in model.metadata.inputs],
            "outputs": [tensor_document(tensor) for tensor in model.metadata.outputs],
        }
    return entry


def tensor_document(tensor: TensorMetadata) -> dict[str, Any]:
    """An input or output for programs."""
    return {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}

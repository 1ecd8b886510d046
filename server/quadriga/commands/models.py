"""`quadriga models`: has a running server load and unload models. Runs in the command's own process."""

from pathlib import Path

import click

from quadriga.commands.connection import Target, connection, target_options


@click.group()
def models() -> None:
    """Load and unload models of a server that was started with --model-control explicit.

    `quadriga status` lists what there is, loaded or not.
    """


@models.command(context_settings={"show_default": True})
@click.argument("name")
@target_options
@click.option(
    "--config", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A ModelConfig as JSON, in the place of the model's own configuration.",
)  # fmt: skip
@click.option(
    "--file", "files", multiple=True, metavar="VERSION/NAME=PATH",
    help="A file to make the model of; needs --config. Repeatable.",
)  # fmt: skip
def load(name: str, target: Target, config: Path | None, files: tuple[str, ...]) -> None:
    """Load the model NAME, or load it anew; returns when it serves."""
    text = None if config is None else read(config).decode(errors="replace")
    contents = {place: read(Path(path)) for place, path in map(split, files)}
    with connection(target) as client:
        client.load_model(name, config=text, files=contents)
    click.echo(f"{name} is loaded")


@models.command(context_settings={"show_default": True})
@click.argument("name")
@target_options
def unload(name: str, target: Target) -> None:
    """Unload the model NAME; its requests in hand end."""
    with connection(target) as client:
        client.unload_model(name)
    click.echo(f"{name} is unloaded")


def split(argument: str) -> tuple[str, str]:
    """The place and the path of a `--file`."""
    place, separator, path = argument.partition("=")
    if not separator or not place or not path:
        raise click.ClickException(f"--file is {argument!r}; expected VERSION/NAME=PATH, such as 1/model.onnx=my.onnx")
    return place, path


def read(path: Path) -> bytes:
    """A file's content."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}") from None

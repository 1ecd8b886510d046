"""The `quadriga` command. Every subcommand imports its part when it is called.

A spawned worker runs nothing of this module, yet starting up fast matters to everybody who types the command.
"""

import sys
from importlib import import_module
from typing import Final

try:
    import click
except ImportError:
    sys.exit(
        "the quadriga command needs an extra: pip install 'quadriga[cli]' for clients, 'quadriga[server]' to serve"
    )

from quadriga import __version__

#: Subcommand -> "module:attribute" and the line that --help shows.
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "serve": ("quadriga.commands.serve:serve", "Serve models from repositories or single files."),
    "infer": ("quadriga.commands.infer:infer", "Classify images with a model of a running server."),
    "status": ("quadriga.commands.status:status", "Show the models of a running server."),
    "health": ("quadriga.commands.health:health", "Ask a running server whether it serves, as probes do."),
    "models": ("quadriga.commands.models:models", "Load and unload models of a running server."),
    "load": ("quadriga.commands.load:load", "Put load on a model of any server, and report how it bears that."),
    "conformance": (
        "quadriga.commands.conformance:conformance",
        "Hold a server, any server, to the Open Inference Protocol.",
    ),
    "compare": ("quadriga.commands.compare:compare", "Compare the speed of models that answer alike."),
    "zoo": ("quadriga_zoo.cli:zoo", "Train and export networks."),
}
#: Subcommand -> the extra that it needs besides that of the command line.
EXTRAS: Final = {"health": "server", "load": "load", "compare": "load"}


class LazyGroup(click.Group):
    """Imports a subcommand when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All subcommands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The subcommand, imported; None when there is none of that name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        try:
            command = getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            if cmd_name not in EXTRAS or str(error.name).startswith("quadriga"):
                raise
            need = f"quadriga {cmd_name} needs an extra: pip install 'quadriga[{EXTRAS[cmd_name]}]' ({error})"
            raise click.ClickException(need) from error
        if not isinstance(command, click.Command):
            raise TypeError(f"{COMMANDS[cmd_name][0]} is not a click command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the subcommands without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"auto_envvar_prefix": "QUADRIGA", "help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="quadriga")
def main() -> None:
    """Trained CNNs in four formats behind one gRPC service."""

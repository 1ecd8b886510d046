"""Every measurement in one run; see benchmarks/README.md for what the columns mean."""

import argparse
import importlib.util
import json
import os
from collections.abc import Callable
from pathlib import Path

import concurrency
import generators
import instances
import loading
import memory
import open_loop
import peers
import served_vs_bare
import tensors
from load import load_client
from report import Section, machine, show
from settings import Settings

SECTIONS: dict[str, Callable[[Settings], Section]] = {
    "served": served_vs_bare.run,
    "onnx": concurrency.run,
    "open": open_loop.run,
    "tensors": tensors.run,
    "instances": instances.run,
    "loading": loading.run,
    "memory": memory.run,
    "generators": generators.run,
    "peers": peers.run,
}
SAME_NETWORK = ("same_savedmodel", "same_keras", "same_torchscript", "same_onnx")


def flags() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--only", action="append", choices=SECTIONS, help="repeatable; default: all, peers where --peers is given")
    add("--repository", type=Path, default=Path("models/repository"))
    add("--models", nargs="+", default=SAME_NETWORK, help="for served, loading; default: one network in four formats")
    add("--model", default="same_onnx", help="for onnx, open, instances, loading and memory")
    add("--transport", action="append", choices=("native", "grpcio"), help="repeatable; default: all installed")
    add("--client", choices=("auto", "h2load", "grpc.aio"), default="auto", help="load generator of closed loops")
    add("--seconds", type=float, default=1.0, help="per closed loop; 20 times the slowest call at least")
    add("--rounds", type=int, default=3, help="what is compared takes turns in each; medians are shown")
    add("--requests", type=int, default=200_000, help="for memory")
    add("--peers", type=Path, default=os.environ.get("PEERS") or None, help="folder of installed peers")
    add("--peer", action="append", default=[], metavar="NAME=COMMAND", help="start one so; default: all in the folder")
    add("--json", type=Path, help="also write the rows to this file")
    return parser


def settings(options: argparse.Namespace) -> Settings:
    """The command line as the measurements take it."""
    native = ["native"] if importlib.util.find_spec("pygrpc_native") else []
    return Settings(
        repository=options.repository,
        models=tuple(options.models),
        model=options.model,
        transports=tuple(options.transport or [*native, "grpcio"]),
        client=load_client(options.client),
        seconds=options.seconds,
        rounds=options.rounds,
        requests=options.requests,
        peers=options.peers.absolute() if options.peers else None,
        peer_commands=dict(each.split("=", 1) for each in options.peer),
    )


def main() -> None:
    """Measures and prints, one section after the other."""
    options = flags().parse_args()
    chosen = settings(options)
    where = machine() | {"client": chosen.client.name, "seconds": chosen.seconds, "rounds": chosen.rounds}
    print(*(f"{key}: {value}" for key, value in where.items()), "", sep="\n", flush=True)
    sections = []
    for name in options.only or [each for each in SECTIONS if each != "peers" or chosen.peers]:
        section = SECTIONS[name](chosen)
        show(section)
        sections.append({"name": section.name, "rows": list(section.rows), "notes": list(section.notes)})
        if options.json:
            options.json.write_text(json.dumps({"machine": where, "sections": sections}, indent=2) + "\n")


if __name__ == "__main__":
    main()

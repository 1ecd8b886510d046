"""Measures everything of the study anew and writes it; see benchmarks/study.

    python benchmarks/make_study.py [--seconds S] [--output DIR] [--repository DIR]

Writes DIR/study.md, DIR/study/report.html and DIR/study/study.json. `--seconds` is the length of a server's turn, of
which there are some 600; those of calls grow and shrink with it, trainings do not. With the default, all of it takes
a quarter of an hour on two cores, which should have nothing else to do.
"""

import argparse
import importlib.util
import shlex
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import grpc
from study import lines, others
from study.errors import StudyError
from study.figures import SCHEMA, Study
from study.naive import measure_calls
from study.served import measure_served
from study.training import measure_trainings
from study.ways import KERAS_BACKENDS
from study.writing import PAGES, write

from quadriga_client.errors import QuadrigaClientError
from quadriga_client.load.fingerprint import fingerprint, versions
from quadriga_zoo.errors import ZooError

NETWORKS = Path(__file__).parents[1] / "models" / "quadriga_zoo" / "networks"
USUAL_SECONDS = 0.25
#: Medians have intervals from six figures on. One more goes before them and does not count.
ROUNDS = 6
SEEDS = 3
#: One network in every format.
NEEDED = ("same_savedmodel", "same_keras", "same_torchscript", "same_onnx")
#: What the load test's fingerprint does not list.
PACKAGES = ("jax", "jaxlib")
#: Of a way to call the network, beside a server's turn.
CALLS_SHARE = 0.4


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--seconds", type=positive, default=USUAL_SECONDS, help="of a server's turn (default: %(default)s)")
    add("--output", type=Path, default=Path("docs"), help="folder (default: %(default)s)")
    add("--repository", type=Path, default=Path("models/repository"), help="the demo models (default: %(default)s)")
    return parser


def positive(text: str) -> float:
    """A number above zero, as argparse wants it."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise ValueError(text)
    return value


def measure(repository: Path, seconds: float) -> Study:
    """All parts, one after the other.

    Raises:
        StudyError: Something cannot be measured.
        ZooError: A network cannot be trained.
        QuadrigaClientError: A server cannot be loaded.
    """
    begun, created = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    where = fingerprint()
    where = replace(where, versions={**where.versions, **versions(PACKAGES)})
    before = others.now()

    def tell(text: str) -> None:
        print(f"{time.monotonic() - begun:4.0f} s  {text}", flush=True)

    installed = tuple(name for name in KERAS_BACKENDS if importlib.util.find_spec(name))
    missing = [name for name in KERAS_BACKENDS if name not in installed]
    code = lines.measure_networks(NETWORKS)
    trainings = measure_trainings(installed, SEEDS, tell)
    calls = measure_calls(repository, installed, ROUNDS, seconds * CALLS_SHARE, tell)
    served = measure_served(repository, installed, ROUNDS, seconds, tell)
    return Study(
        schema=SCHEMA,
        created=created,
        command=shlex.join(["python", *sys.argv]),
        seconds=time.monotonic() - begun,
        fingerprint=where,
        others=others.share(before, others.now()),
        code=code,
        trainings=trainings,
        calls=calls,
        served=served,
        left_out=tuple(f"Keras on {name} is left out: {name} is not installed." for name in missing),
    )


def main() -> None:
    """Reads the flags, measures and writes."""
    chosen = options().parse_args()
    missing = [name for name in NEEDED if not (chosen.repository / name).is_dir()]
    if missing:
        sys.exit(f"{chosen.repository} does not hold {', '.join(missing)}; run `make models`, or give --repository")
    try:
        # Not after a quarter of an hour.
        (chosen.output / PAGES).mkdir(parents=True, exist_ok=True)
        study = measure(chosen.repository, chosen.seconds)
        written = write(study, chosen.output)
    except (StudyError, ZooError, QuadrigaClientError, OSError) as error:
        sys.exit(f"make_study: {error}")
    except grpc.RpcError as error:
        sys.exit(f"make_study: a server does not answer: {error.details() if isinstance(error, grpc.Call) else error}")
    except KeyboardInterrupt:
        sys.exit("make_study: interrupted; nothing was written")
    print(f"{study.seconds / 60:.1f} minutes; wrote {', '.join(map(str, written))}")


if __name__ == "__main__":
    main()

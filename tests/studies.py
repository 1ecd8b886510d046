"""Studies with figures of the tests' choice."""

from collections.abc import Mapping, Sequence

from study.figures import LIKE_KERAS, SCHEMA, Calls, Code, Purpose, Served, Study, Training

from quadriga_client.load.report import Fingerprint

#: What rounds differ by: nothing is ever measured twice alike, and intervals have a width.
ROUNDS = (0.99, 1.0, 1.01, 1.0, 0.995, 1.005)
TRAINED = (("tensorflow", "", 70_000), (LIKE_KERAS, "", 11_000), ("keras", "tensorflow", 11_000),
           ("keras", "torch", 11_000), ("pytorch", "", 11_000))  # fmt: skip


def rounds(value: float) -> tuple[float, ...]:
    """A figure by round."""
    return tuple(value * each for each in ROUNDS)


def calls(framework: str, way: str, batch: int, ms: float, threads: int = 2) -> Calls:
    """One way and batch size."""
    return Calls(
        framework=framework, way=way, threads=threads, batch=batch, ms=rounds(ms), cpu_ms=rounds(ms), difference=0.0
    )


def training(network: str, keras_backend: str, parameters: int, epoch: float, seed: int = 7) -> Training:
    """Seven epochs, the first of which takes twice as long."""
    return Training(
        network=network, keras_backend=keras_backend, seed=seed, parameters=parameters, images=1000,
        seconds=(2 * epoch, *rounds(epoch)), accuracy=0.975,
    )  # fmt: skip


def served(
    server: str,
    throughput: float,
    *,
    level: float = 8,
    rows: int = 1,
    naive: bool = False,
    saturated: bool = False,
    threads: int | None = None,
) -> Served:
    """A server in a closed loop; Quadriga's have a thread."""
    return Served(
        server=server, naive=naive, threads=threads if naive else 1, rows=rows, mode="closed", level=level,
        throughput=rounds(throughput),
        p50_ms=rounds(1.0), p99_ms=2.0, cpu_ms=rounds(0.5), requests=1000, errors=0, lag_p99_ms=0.01,
        saturated=saturated,
    )  # fmt: skip


def study(
    *,
    epochs: Mapping[str, float] | None = None,
    timed: Sequence[Calls] = (),
    loaded: Sequence[Served] = (),
    others: float = 0.0,
) -> Study:
    """A study; `epochs` has seconds by `Training.name`, and none of them: nothing was trained.

    Of the network that TensorFlow trains with Keras' layers, they are TensorFlow's unless they are given.
    """
    seconds = {LIKE_KERAS: epochs["tensorflow"], **epochs} if epochs else {}
    trainings = [
        training(
            network,
            keras_backend,
            parameters,
            seconds[f"{network} on {keras_backend}".removesuffix(" on ")] * share,
            seed,
        )
        for network, keras_backend, parameters in TRAINED
        for seed, share in enumerate(ROUNDS, 7)
        if seconds
    ]
    return Study(
        schema=SCHEMA,
        created="2026-11-25T04:00:00+00:00",
        command="python benchmarks/make_study.py",
        seconds=60.0,
        fingerprint=Fingerprint(machine={"cpu": "of a test"}, versions={"keras": "3"}, load_average=0.0),
        others=others,
        code=(Code(network="keras", purposes=(Purpose(name="model", lines=12, statements=2),)),),
        trainings=tuple(trainings),
        calls=tuple(timed),
        served=tuple(loaded),
    )

"""What each backend's way of running a model is worth: variants of it side by side, on one thread.

    python benchmarks/backends.py [--repository DIR ...] [--model NAME ...] [--backend NAME ...] [--variant NAME ...]
                                  [--batch N ...] [--rounds N] [--seconds S]

Every model of a repository with a format of these backends is run. Each variant has a process of its own, and they take
turns: in a round each runs a batch size for `--seconds`. Shown are medians over rounds of

    cpu ms       CPU time of the process per call: what other load on the machine disturbs least
    wall ms      per call
    ratio        CPU time of the variant over that of the backend as it is served ("served")
    difference   the largest, of its answers from those of the first variant, the framework's plain way

What was found with it is in benchmarks/BACKENDS.md.
"""

import argparse
import json
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from variant import Run, Variant, answer_questions

SERVED: Final = "served"
SUFFIXES: Final = {".savedmodel": "tensorflow", ".keras": "keras", ".pt": "torchscript", ".onnx": "onnx"}
KEPT: Final[list[Any]] = []
#: Before the framework is imported, beyond what the backend itself sets.
ENVIRONMENT: Final = {"onednn_off": {"TF_ENABLE_ONEDNN_OPTS": "0"}}


def served(path: Path, name: str, parameters: dict[str, str], threads: int = 1) -> tuple[Run, tuple[int, ...]]:
    """The backend as a worker runs it, and the shape of its contract's first input."""
    from quadriga.backends import import_backend
    from quadriga.backends.base import ModelSource

    backend = import_backend(name)()
    source = ModelSource(path=str(path), threads=threads, parameters=parameters)
    backend.prepare(source)
    spec = backend.load(source)
    return lambda array: backend.infer([array])[0], spec.inputs[0].shape


def torchscript(path: Path, variant: str) -> Run:
    """Ways to run an archive, without what the backend does to the allocator unless the name says so."""
    import torch

    from quadriga.backends import memory, torchscript_graph

    torch.set_num_threads(1)
    torch._C._jit_set_profiling_executor(variant == "optimize_for_inference, profiling")
    module = torch.jit.load(str(path)).eval()
    if variant.endswith("kept memory"):
        memory.keep_freed_memory()
    with torch.inference_mode():
        if variant.startswith("optimize_for_inference"):
            module = torch.jit.optimize_for_inference(module)
        elif variant.startswith("rewritten"):
            module = torchscript_graph.optimise(module, torch) or module
    torch.backends.mkldnn.flags(enabled=variant != "onednn_off").__enter__()

    def run(array: Any) -> Any:  # noqa: ANN401
        with torch.inference_mode():
            return module(torch.from_numpy(array)).numpy()

    return run


def tensorflow(path: Path, variant: str) -> Run:
    """Ways to call a signature."""
    import tensorflow as tf
    from tensorflow.python.eager import context
    from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

    # A signature refers weakly to its model's variables.
    KEPT.append(tf.saved_model.load(str(path)))
    signature = KEPT[0].signatures["serving_default"]
    (name, tensor), *_ = signature.structured_input_signature[1].items()
    output = next(iter(signature.structured_outputs))
    compiled = partial(tf.function, input_signature=[tf.TensorSpec(tensor.shape, tensor.dtype)], autograph=False)
    if variant in ("signature", "onednn_off"):
        return lambda array: signature(**{name: tf.constant(array)})[output].numpy()
    traced = compiled(lambda value: signature(**{name: value})[output]).get_concrete_function()
    if variant == "tf.function":
        return lambda array: traced(tf.convert_to_tensor(array)).numpy()
    frozen = convert_variables_to_constants_v2(traced)
    if variant == "frozen, session":
        graph = tf.Graph()
        with graph.as_default():
            tf.import_graph_def(frozen.graph.as_graph_def(), name="")
        options = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        session = tf.compat.v1.Session(graph=graph, config=options)
        call = session.make_callable(frozen.outputs[0].name, [frozen.inputs[0].name])
        return lambda array: call(array)
    again = compiled(lambda value: frozen(value)[0], jit_compile=variant == "frozen, XLA" or None)
    if variant == "frozen, one-thread executor":
        context.context().function_call_options.executor_type = "SINGLE_THREADED_EXECUTOR"
    concrete = again if variant == "frozen, XLA" else again.get_concrete_function()
    return lambda array: concrete(tf.convert_to_tensor(array)).numpy()


def keras(path: Path, variant: str) -> Run:
    """Ways to call a Keras model; `prepare` of the backend has chosen what Keras runs on."""
    import keras
    import tensorflow as tf

    model = keras.saving.load_model(str(path), compile=False)
    if variant == "predict":
        return lambda array: model.predict(array, batch_size=len(array), verbose=0)
    if variant == "eager":
        return lambda array: model(array, training=False)
    tensor = tf.TensorSpec(model.inputs[0].shape, model.inputs[0].dtype)
    function = tf.function(lambda value: model(value, training=False), input_signature=[tensor], autograph=False)
    return lambda array: function(tf.convert_to_tensor(array)).numpy()


def onnx(path: Path, variant: str) -> Run:
    """Sessions with other options than the backend's."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    levels = {"graph: none": "ORT_DISABLE_ALL", "graph: basic": "ORT_ENABLE_BASIC"}
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, levels.get(variant, "ORT_ENABLE_ALL"))
    options.enable_cpu_mem_arena = variant != "no arena"
    options.enable_mem_pattern = variant != "no memory pattern"
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name
    if variant != "IO binding":
        return lambda array: session.run([output], {name: array})[0]
    binding = session.io_binding()

    def run(array: Any) -> Any:  # noqa: ANN401
        binding.bind_cpu_input(name, array)
        binding.bind_output(output)
        session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()[0]

    return run


#: By backend, in the order in which they are shown; the first is what the answers are compared with.
VARIANTS: Final[dict[str, tuple[Callable[[Path, str], Run], tuple[str, ...]]]] = {
    "torchscript": (
        torchscript,
        ("plain", "plain, kept memory", "onednn_off", "optimize_for_inference", "optimize_for_inference, profiling",
         "optimize_for_inference, kept memory", "rewritten"),
    ),
    "tensorflow": (
        tensorflow,
        ("signature", "onednn_off", "tf.function", "frozen", "frozen, one-thread executor", "frozen, session",
         "frozen, XLA"),
    ),
    "keras": (keras, ("eager", "predict", "tf.function", "served on torch", "served on jax")),
    "onnx": (onnx, ("graph: none", "graph: basic", "graph: all", "IO binding", "no arena", "no memory pattern")),
}  # fmt: skip


def build(name: str, variant: str, path: Path) -> Run:
    """A variant, in a process that has imported no framework."""
    from quadriga.backends import import_backend, tensorflow_runtime
    from quadriga.backends.base import ModelSource

    if variant.startswith(SERVED):
        runs_on = variant.removeprefix("served on ")
        return served(path, name, {} if variant == SERVED else {"keras_backend": runs_on})[0]
    os.environ.update(ENVIRONMENT.get(variant, {}))
    source = ModelSource(path=str(path), threads=1)
    import_backend(name)().prepare(source)
    if name in ("tensorflow", "keras"):
        tensorflow_runtime.import_tensorflow(source)
    return VARIANTS[name][0](path, variant)


def start(name: str, variant: str, path: Path, shape: tuple[int, ...]) -> Variant:
    """A variant in a process of its own."""
    return Variant([__file__, "--child", json.dumps([name, variant, str(path), shape])])


def measure(name: str, path: Path, shape: tuple[int, ...], options: argparse.Namespace) -> list[tuple[Any, ...]]:
    """Rows of one model: batch, variant, CPU ms, wall ms, ratio, difference."""
    names = [*VARIANTS[name][1], SERVED]
    wanted = [each for each in names if not options.variant or each in options.variant or each in (names[0], SERVED)]
    running = {variant: start(name, variant, path, shape) for variant in wanted}
    rows = []
    for batch in options.batch:
        seen: dict[str, list[tuple[float, float]]] = {variant: [] for variant in running}
        answers: dict[str, Any] = {}
        for round_ in range(options.rounds):
            for variant, process in running.items():
                if answer := process.ask(batch, options.seconds):
                    seen[variant].append((answer.cpu_ms, answer.wall_ms))
                    if round_ == 0:
                        answers[variant] = np.array(answer.first)
        medians = {variant: np.median(times, axis=0) for variant, times in seen.items() if times}
        for variant, (cpu, wall) in medians.items():
            difference = float(np.abs(answers[variant] - answers[wanted[0]]).max())
            rows.append((batch, variant, cpu, wall, cpu / medians[SERVED][0], difference))
    for process in running.values():
        process.close()
    return rows


def shape_of(name: str, path: Path) -> tuple[int, ...]:
    """The contract's input shape, asked in a process of its own: this one imports no framework."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_shape, name, path).result()


def _shape(name: str, path: Path) -> tuple[int, ...]:
    return served(path, name, {})[1]


def show(model: str, rows: list[tuple[Any, ...]]) -> None:
    """Prints one model's table, in Markdown."""
    print(f"\n{model}\n\n| batch | variant | cpu ms | wall ms | ratio | difference |\n|{'---|' * 6}")
    for batch, variant, cpu, wall, ratio, difference in rows:
        print(f"| {batch} | {variant} | {cpu:.3g} | {wall:.3g} | {ratio:.2f} | {difference:.0e} |", flush=True)


def main() -> None:
    """Reads the flags, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, nargs="+", default=[Path("models/repository")])
    parser.add_argument("--model", nargs="+", help="default: all that start with same_, mobilenet or resnet")
    parser.add_argument("--backend", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--variant", nargs="+", help="beside the plain and the served one")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="of a variant in a round")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, variant, path, shape = json.loads(options.child)
        answer_questions(build(name, variant, Path(path)), shape)
        return
    for folder in sorted(each for repository in options.repository for each in repository.iterdir()):
        wanted = (
            folder.name in options.model if options.model else folder.name.startswith(("same_", "mobile", "resnet"))
        )
        path = next((file for file in (folder / "1").glob("model.*") if file.suffix in SUFFIXES), None)
        if wanted and path and SUFFIXES[path.suffix] in options.backend:
            name = SUFFIXES[path.suffix]
            show(folder.name, measure(name, path, shape_of(name, path), options))


if __name__ == "__main__":
    main()

"""The layout's own rules: traps of the top-level folders' names, and the direction of imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOP_LEVEL = ("client", "docker", "models", "proto", "server", "tests", "benchmarks", "docs")

#: What a package or module may never import, by the start of the imported name.
FORBIDDEN = {
    "client/quadriga_client": ("quadriga.", "quadriga ", "quadriga_zoo"),
    "proto/quadriga_proto": ("quadriga.", "quadriga_client", "quadriga_zoo"),
    "server/quadriga/backends": ("grpc", "prometheus_client", "quadriga.service", "quadriga.registry"),
    "server/quadriga/workers": (
        "grpc",
        "prometheus_client",
        "quadriga.service",
        "quadriga.scheduler",
        "quadriga.registry",
    ),
    "server/quadriga/batching.py": ("asyncio ", "time ", "grpc"),
    "server/quadriga/priority_queue.py": ("asyncio ", "time ", "grpc"),
    "server/quadriga/scheduler.py": ("grpc", "quadriga.service", "quadriga.transports"),
    "server/quadriga/service.py": ("grpc", "asyncio"),
}


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (f"{alias.name} " for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield f"{node.module} "
            yield from (f"{node.module}.{alias.name} " for alias in node.names)


def test_top_level_folders_are_not_packages() -> None:
    assert [folder for folder in TOP_LEVEL if (ROOT / folder / "__init__.py").exists()] == []


def test_imports_run_one_way() -> None:
    wrong = []
    for place, forbidden in FORBIDDEN.items():
        path = ROOT / place
        for file in [path] if path.is_file() else path.rglob("*.py"):
            wrong += [f"{file.relative_to(ROOT)}: {name}" for name in imports(file) if name.startswith(forbidden)]
    assert wrong == []


def test_every_module_says_what_it_owns() -> None:
    silent = [
        str(file.relative_to(ROOT))
        for folder in ("server", "client", "proto", "models", "docker", "tests", "benchmarks")
        for file in (ROOT / folder).rglob("*.py")
        if not file.name.endswith("_pb2.py") and not ast.get_docstring(ast.parse(file.read_text()))
    ]
    assert silent == []


#: What makes objects of what it reads, and so can run code; `multiprocessing` and pools of processes pickle.
PICKLING = (
    "pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "multiprocessing",
    "concurrent.futures.ProcessPoolExecutor", "concurrent.futures.process",
)  # fmt: skip
#: The one place: archives of CIFAR-10 are pickles, and its unpickler makes plain values and arrays alone. The folder of
#: POSIX shared memory is reached through `multiprocessing.shared_memory`, which pickles nothing.
PICKLES_READ = {"models/quadriga_zoo/datasets.py: pickle "}
UNPICKLING_CALLS = {"torch.load", "np.load", "numpy.load", "pd.read_pickle", "yaml.load", "eval", "exec"}


def test_nothing_that_is_shipped_pickles() -> None:
    found = {
        f"{file.relative_to(ROOT)}: {name}"
        for file in shipped()
        for name in imports(file)
        if name.startswith(PICKLING) and not name.startswith("multiprocessing.shared_memory")
    }
    assert found == PICKLES_READ


def test_nothing_that_is_shipped_loads_what_could_be_a_pickle() -> None:
    wrong = []
    for file in shipped():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in UNPICKLING_CALLS:
                given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                if given.get("allow_pickle") != "False" and given.get("weights_only") != "True":
                    wrong.append(f"{file.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node.func)}")
    assert wrong == []


def shipped() -> Iterator[Path]:
    """What the wheel consists of."""
    for folder in ("server/quadriga", "client/quadriga_client", "proto/quadriga_proto", "models/quadriga_zoo"):
        yield from (ROOT / folder).rglob("*.py")

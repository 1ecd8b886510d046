"""Regenerates the protobuf stubs beside their .proto files (`make proto`), or says that they are stale (`--check`).

The generated modules register in protobuf's default pool. Each is pointed at `quadriga_proto.pool.POOL` instead, for
the reason that module gives.
"""

import sys
import tempfile
from importlib import resources
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).parent
SOURCES = sorted((ROOT / "quadriga_proto").glob("*.proto"))
DEFAULT_POOL_IMPORT = "from google.protobuf import descriptor_pool as _descriptor_pool\n"
PRIVATE_POOL_IMPORT = "from quadriga_proto.pool import POOL as _POOL\n"
DEFAULT_POOL_USE = "_descriptor_pool.Default()"


def generate(target: Path) -> list[Path]:
    """Writes quadriga_proto/NAME_pb2.py and NAME_pb2.pyi below `target` for every NAME.proto; returns their paths."""
    well_known = str(resources.files("grpc_tools").joinpath("_proto"))
    arguments = ["protoc", f"-I{ROOT}", f"-I{well_known}", f"--python_out={target}", f"--pyi_out={target}"]
    if protoc.main([*arguments, *map(str, SOURCES)]) != 0:
        raise SystemExit("protoc failed")
    stubs = [target / "quadriga_proto" / f"{source.stem}_pb2.py" for source in SOURCES]
    for stub in stubs:
        use_private_pool(stub)
    return [*stubs, *(stub.with_suffix(".pyi") for stub in stubs)]


def use_private_pool(module: Path) -> None:
    """Rewrites one generated module; fails when protoc's output no longer has the lines that are replaced."""
    text = module.read_text()
    for expected in (DEFAULT_POOL_IMPORT, DEFAULT_POOL_USE):
        if expected not in text:
            raise SystemExit(f"{module}: expected the line {expected.strip()!r} in protoc's output")
    module.write_text(text.replace(DEFAULT_POOL_IMPORT, PRIVATE_POOL_IMPORT).replace(DEFAULT_POOL_USE, "_POOL"))


def stale_stubs() -> list[str]:
    """The committed stubs that differ from what their sources generate."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = {path.relative_to(scratch): path.read_text() for path in generate(Path(scratch))}
    return [
        str(path) for path, text in fresh.items() if not (ROOT / path).is_file() or (ROOT / path).read_text() != text
    ]


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        if stale := stale_stubs():
            raise SystemExit(f"stale: {', '.join(stale)}; run `make proto` and commit what changes")
    else:
        generate(ROOT)

"""What a model file really is, as far as its first bytes and its zip directory tell. Runs in workers.

Frameworks answer a file of another format with messages about streams and protocol buffers; these checks come first.
"""

import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from quadriga.backends.base import ModelLoadError, ModelSource, first_line
from quadriga.errors import one_line

ONNX: Final = "an ONNX model"
KERAS: Final = "a Keras 3 model (a zip archive)"
TORCHSCRIPT: Final = "a TorchScript archive (a zip archive)"
SAVED_MODEL: Final = "a SavedModel's folder"

#: Members of one archive; a large network has a few thousand.
_MOST_MEMBERS: Final = 20_000
#: What an archive may become, by its own size: weights are hardly compressed, and below this nobody cares.
_MOST_EXPANSION: Final = 100
_HARMLESS_BYTES: Final = 256 << 20
_ZIP: Final = b"PK\x03\x04"
_ONNX: Final = b"\x08"  # the tag of ir_version, which comes first
#: What a file's first bytes say it is.
_SIGNATURES: Final = (
    (_ZIP, "a zip archive (a .keras or .pt file?)"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (an old Keras .h5?)"),
    (b"\x80\x02", "a pickle (a PyTorch state dict?)"),
    (_ONNX, "a protocol buffer (an ONNX file?)"),
)
#: What a member's name says of a zip archive. A TorchScript archive has a data.pkl too, so it comes first.
_MEMBERS: Final = (
    ("/constants.pkl", TORCHSCRIPT),
    ("/data.pkl", "a file of torch.save, weights without a network; export the module with torch.jit.save"),
    ("model.weights.h5", KERAS),
)


def expect_zip(source: ModelSource, expected: str) -> None:
    """Makes sure that a model file is a zip archive of the expected kind.

    Raises:
        ModelLoadError: It is not there, empty, cut off, a folder, or something else.
    """
    path = source.file
    start = _start(path, expected)
    if not start.startswith(_ZIP):
        raise ModelLoadError(f"{path} is {_kind(start)}; expected {expected}")
    if not zipfile.is_zipfile(path):
        raise ModelLoadError(f"{path} is damaged: the zip archive's directory, at its end, is missing; copy it again")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise ModelLoadError(f"{path} is damaged: {first_line(error)}; copy it again") from error
    _expect_harmless(path, members)
    names = [f"/{member.filename}" for member in members]
    kind = next((kind for ending, kind in _MEMBERS if any(name.endswith(ending) for name in names)), None)
    if kind != expected:
        raise ModelLoadError(f"{path} is {kind or 'a zip archive of another kind'}; expected {expected}")


def _expect_harmless(path: Path, members: Sequence[zipfile.ZipInfo]) -> None:
    """Makes sure that an archive can be unpacked without filling the memory or leaving the folder it is unpacked to."""
    if len(members) > _MOST_MEMBERS:
        raise ModelLoadError(f"{path} has {len(members)} members; expected at most {_MOST_MEMBERS}")
    size = sum(member.file_size for member in members)
    if size > max(_HARMLESS_BYTES, _MOST_EXPANSION * path.stat().st_size):
        raise ModelLoadError(f"{path} would be unpacked to {size} bytes, as a zip bomb is; save the model again")
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts:
            raise ModelLoadError(f"{path} has a member that leads out of it: {one_line(member.filename)}")


def expect_onnx(source: ModelSource) -> None:
    """Makes sure that a model file is not of another known format; ONNX itself has no signature.

    Raises:
        ModelLoadError: It is not there, empty, a folder, or of another format.
    """
    start = _start(source.file, ONNX)
    if not start.startswith(_ONNX) and any(start.startswith(magic) for magic, _ in _SIGNATURES):
        raise ModelLoadError(f"{source.file} is {_kind(start)}; expected {ONNX}")


def expect_saved_model(source: ModelSource) -> None:
    """Makes sure that a SavedModel's folder has its graph in it.

    Raises:
        ModelLoadError: It is not there, a file, or has no graph.
    """
    path = source.file
    if not path.is_dir():
        raise ModelLoadError(f"{path} is {_kind(_start(path, SAVED_MODEL))}; expected {SAVED_MODEL}")
    if not any((path / f"saved_model.{ending}").is_file() for ending in ("pb", "pbtxt")):
        raise ModelLoadError(f"{path} has no saved_model.pb in it; expected {SAVED_MODEL}")


def _start(path: Path, expected: str) -> bytes:
    if path.is_dir():
        content = " with a SavedModel in it" if (path / "saved_model.pb").is_file() else ""
        raise ModelLoadError(f"{path} is a folder{content}; expected {expected}")
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise ModelLoadError(f"{path} cannot be read: {error.strerror}") from error
    if not start:
        raise ModelLoadError(f"{path} is empty; expected {expected}")
    return start


def _kind(start: bytes) -> str:
    return next((name for magic, name in _SIGNATURES if start.startswith(magic)), "of no known format")

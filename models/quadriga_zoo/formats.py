"""The formats that networks are exported in. Read in the `quadriga zoo` command and in zoo jobs."""

from typing import Final

from quadriga.backends import FORMATS

#: Of the formats that the server knows, in the order in which they are exported.
EXPORTED: Final = ("savedmodel", "keras", "torchscript", "onnx")


def file_name(form: str) -> str:
    """What a repository calls the file of a format."""
    return f"model{FORMATS[form].suffix}"


def backend_name(form: str) -> str:
    """The backend that reads a format back."""
    return FORMATS[form].backend

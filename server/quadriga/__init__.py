"""Quadriga: trained CNNs in four formats behind one gRPC service.

Every process that touches the package runs this module, workers included, so nothing heavy is imported here.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("quadriga")
except PackageNotFoundError:  # a source tree on PYTHONPATH that was never installed
    __version__ = "0.0.0"

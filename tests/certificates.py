"""Certificates for tests, made by the openssl command."""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest


class Pair(NamedTuple):
    """PEM files.

    Attributes:
        certificate: Of a server, a client or an authority.
        key: Its key.
    """

    certificate: Path
    key: Path


class Authority:
    """Signs certificates; its own is what the other side trusts."""

    def __init__(self, folder: Path, name: str) -> None:
        """Makes a key and a certificate in the folder."""
        self._folder = folder
        self.own = Pair(folder / f"{name}.pem", folder / f"{name}.key")
        _openssl("req", "-x509", "-subj", f"/CN={name}", "-out", self.own.certificate, *_new_key(self.own.key))

    def sign(self, name: str, addresses: str = "DNS:localhost,IP:127.0.0.1") -> Pair:
        """A certificate of a name, for these addresses."""
        pair = Pair(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        subject = ("-subj", f"/CN={name}", "-addext", f"subjectAltName={addresses}")
        signer = ("-CA", self.own.certificate, "-CAkey", self.own.key)
        _openssl("req", "-x509", *subject, *signer, "-out", pair.certificate, *_new_key(pair.key))
        return pair


def lock(key: Path, locked: Path) -> None:
    """Writes a key that needs a password."""
    _openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", locked)


def _new_key(path: Path) -> tuple[str | Path, ...]:
    return ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-keyout", path)


def _openssl(*arguments: str | Path) -> None:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl command is not installed")
    subprocess.run([openssl, *map(str, arguments)], check=True, capture_output=True)

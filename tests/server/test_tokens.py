"""What a file of tokens may hold, and how a new version of it is taken up."""

import logging
import os
from pathlib import Path

import pytest

from quadriga.errors import ConfigError
from quadriga.tokens import TokenFile


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text("# of the team\n\nfirst-token\n  second.token==  \n")
    return path


def replace(path: Path, text: str) -> None:
    """Writes another file and moves it to the path, as an operator should."""
    new = path.with_suffix(".new")
    new.write_text(text)
    os.replace(new, path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no token"),
        (b"# nothing\n\n", "holds no token"),
        (b"good\ntwo words\n", "line 2 is no token"),
        ("schl\u00fcssel".encode(), "line 1 is no token"),
        (b"\xff\x00", "line 1 is no token"),
        (b"a" * 2_000_000, "more than 1048576 bytes"),
    ],
)
def test_a_file_that_is_no_list_of_tokens_is_refused_without_showing_it(
    tmp_path: Path, content: bytes, message: str
) -> None:
    path = tmp_path / "tokens"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        TokenFile(path)
    assert "\n" not in str(caught.value)
    assert "words" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        TokenFile(tmp_path / "missing")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        TokenFile(tmp_path)


def test_a_new_version_is_read_within_a_second(file: Path) -> None:
    clock = Clock()
    tokens = TokenFile(file, clock)
    replace(file, "third\n")
    clock.now += 0.9
    assert (tokens.admits("first-token"), tokens.admits("third")) == (True, False)
    clock.now += 0.1
    assert (tokens.admits("first-token"), tokens.admits("third")) == (False, True)


@pytest.mark.parametrize("bad", ["two words\n", "", None])
def test_a_bad_new_version_keeps_the_old_tokens_and_is_told_once(
    file: Path, bad: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    tokens = TokenFile(file, clock)
    file.unlink() if bad is None else replace(file, bad)
    for _ in range(3):
        clock.now += 1
        assert tokens.admits("first-token")
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert str(file) in caplog.text
    replace(file, "third\n")
    clock.now += 1
    assert (tokens.admits("first-token"), tokens.admits("third")) == (False, True)
    assert "third" not in caplog.text

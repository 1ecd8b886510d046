"""What a worker prints, cut into lines."""

from quadriga.workers.child import LONGEST_LINE, LineSplitter


def test_lines_come_whole_however_the_chunks_fall() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"one\ntw") == ["one"]
    assert splitter.feed(b"o\n\n  \nthree") == ["two"]
    assert splitter.feed(b"\n") == ["three"]


def test_a_line_without_end_is_cut_and_costs_no_memory() -> None:
    splitter = LineSplitter()
    for _ in range(100):
        assert splitter.feed(b"x" * 60_000) == []
    assert splitter.feed(b"y\nnext\n") == ["x" * LONGEST_LINE, "next"]


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    assert LineSplitter().feed(b"\xff\xfe\n") == ["\ufffd\ufffd"]

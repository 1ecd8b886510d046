"""Header blocks of gRPC calls, both ways."""

from dataclasses import replace

import hpack
import pytest

from quadriga_client import TlsOptions
from quadriga_client.load import status_codes
from quadriga_client.load.engine import headers
from quadriga_client.load.engine.frames import FRAME_BYTES
from quadriga_client.load.engine.headers import Head, Heads, code_of_reset, request_block, timeout_text
from quadriga_client.load.errors import LoadError, ProtocolError
from quadriga_client.load.status_codes import code_name, counts_by_name
from quadriga_client.load.target import MODEL_INFER, LoadTarget

TARGET = LoadTarget(url="host:8001", requests=(b"",), timeout=1.5, metadata=(("authorization", "Bearer " + "x" * 300),))


def block(*pairs: tuple[str, str]) -> bytes:
    """As a server with a dynamic table of no bytes sends them."""
    encoder = hpack.Encoder()
    encoder.header_table_size = 0
    encoded: bytes = encoder.encode(pairs)
    return encoded


def test_a_request_has_what_grpc_asks_for() -> None:
    assert hpack.Decoder().decode(request_block(TARGET)) == [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", MODEL_INFER),
        (":authority", "host:8001"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("user-agent", "quadriga-load"),
        ("grpc-timeout", "1500m"),
        ("authorization", "Bearer " + "x" * 300),
    ]


def test_a_request_leaves_nothing_in_the_servers_table() -> None:
    decoder = hpack.Decoder()
    for _ in range(2):
        decoder.decode(request_block(TARGET))
    assert len(decoder.header_table.dynamic_entries) == 0


def test_headers_that_no_frame_holds_are_refused() -> None:
    assert len(request_block(replace(TARGET, metadata=(("x", "y" * 16_000),)))) < FRAME_BYTES
    with pytest.raises(LoadError, match=r"^a request's headers take 16\d\d\d bytes; 16383 are allowed: .* metadata$"):
        request_block(replace(TARGET, metadata=(("x", "y" * 16_300),)))


@pytest.mark.parametrize(("name", "authority"), [("", "host:8001"), ("model.example", "model.example")])
def test_tls_changes_the_scheme_and_may_change_the_authority(name: str, authority: str) -> None:
    target = LoadTarget(url="host:8001", requests=(b"",), timeout=1.0, tls=TlsOptions(authority=name))
    sent = dict(hpack.Decoder().decode(request_block(target)))
    assert (sent[":scheme"], sent[":authority"]) == ("https", authority)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0001, "1m"), (0.25, "250m"), (99_999.999, "99999999m"), (100_000.0, "100000S"), (1e12, "99999999S")],
)
def test_timeouts_have_eight_digits_at_most(seconds: float, text: str) -> None:
    assert timeout_text(seconds) == text


@pytest.mark.parametrize(
    ("pairs", "head"),
    [
        ([(":status", "200"), ("content-type", "application/grpc")], Head(status_codes.OK, final=False)),
        ([("grpc-status", "0")], Head(status_codes.OK, final=True)),
        (
            [(":status", "200"), ("grpc-status", "5"), ("grpc-message", "none")],
            Head(status_codes.NOT_FOUND, final=True),
        ),
        ([(":status", "503"), ("grpc-status", "8")], Head(status_codes.RESOURCE_EXHAUSTED, final=True)),
        ([("grpc-status", "17")], Head(status_codes.UNKNOWN, final=True)),
        ([("grpc-status", "300")], Head(status_codes.UNKNOWN, final=True)),
        ([("grpc-status", "")], Head(status_codes.UNKNOWN, final=True)),
        ([("grpc-status", "-1")], Head(status_codes.UNKNOWN, final=True)),
        ([("x", "y")], Head(status_codes.UNKNOWN, final=False)),
        ([(":status", "100")], Head(status_codes.UNKNOWN, final=False, interim=True)),
        ([(":status", "400")], Head(status_codes.INTERNAL, final=False)),
        ([(":status", "401")], Head(status_codes.UNAUTHENTICATED, final=False)),
        ([(":status", "403")], Head(status_codes.PERMISSION_DENIED, final=False)),
        ([(":status", "404")], Head(status_codes.UNIMPLEMENTED, final=False)),
        ([(":status", "429")], Head(status_codes.UNAVAILABLE, final=False)),
        ([(":status", "502")], Head(status_codes.UNAVAILABLE, final=False)),
        ([(":status", "500")], Head(status_codes.UNKNOWN, final=False)),
        ([(":status", "many")], Head(status_codes.UNKNOWN, final=False)),
    ],
)
def test_answers_have_grpcs_status_or_what_https_stands_for(pairs: list[tuple[str, str]], head: Head) -> None:
    assert headers.decode(block(*pairs)) == head
    heads = Heads()
    assert heads(block(*pairs)) == heads(block(*pairs)) == head


def test_the_notice_that_the_table_is_empty_is_understood() -> None:
    assert headers.decode(b"\x20" + block(("grpc-status", "0"))) == Head(status_codes.OK, final=True)


@pytest.mark.parametrize("broken", [b"\xbe", b"\x80", b"\x40\x05ab", b"\x3f\xe1\x1f", b"\xff" * 30])
def test_what_cannot_be_read_is_an_error(broken: bytes) -> None:
    with pytest.raises(ProtocolError, match="cannot be read"):
        headers.decode(broken)


def test_a_block_that_refers_to_one_before_is_an_error() -> None:
    encoder = hpack.Encoder()
    pairs = [(":status", "200"), ("x", "y")]
    encoder.encode(pairs)
    with pytest.raises(ProtocolError, match="without those before them"):
        headers.decode(encoder.encode(pairs))


def test_remembered_blocks_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "MOST_BLOCKS", 3)
    decoded: list[bytes] = []
    real = headers.decode

    def decode(block: bytes) -> Head:
        decoded.append(block)
        return real(block)

    monkeypatch.setattr(headers, "decode", decode)
    heads = Heads()
    blocks = [block(("grpc-status", "0"), ("date", str(number))) for number in range(4)]
    for each in (*blocks, blocks[3], blocks[0]):
        assert heads(each) == Head(status_codes.OK, final=True)
    assert decoded == [*blocks, blocks[0]]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (0, status_codes.INTERNAL),
        (2, status_codes.INTERNAL),
        (7, status_codes.UNAVAILABLE),
        (8, status_codes.CANCELLED),
        (11, status_codes.RESOURCE_EXHAUSTED),
        (12, status_codes.PERMISSION_DENIED),
        (4711, status_codes.INTERNAL),
    ],
)
def test_resets_have_codes(error: int, code: int) -> None:
    assert code_of_reset(error) == code


@pytest.mark.parametrize(
    ("code", "name"), [(0, "OK"), (4, "DEADLINE_EXCEEDED"), (16, "UNAUTHENTICATED"), (17, "UNKNOWN"), (-1, "UNKNOWN")]
)
def test_a_code_has_grpcs_name(code: int, name: str) -> None:
    assert code_name(code) == name


def test_codes_that_nobody_knows_are_counted_together() -> None:
    counts = counts_by_name({99: 1, 5: 2, 2: 3})
    assert list(counts.items()) == [("UNKNOWN", 4), ("NOT_FOUND", 2)]
    assert counts_by_name({}) == {}

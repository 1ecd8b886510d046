"""Whatever a configuration's file holds, it is read or refused in one line that names the file: nothing else."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import Authority
from fuzz_cases import CASES, chance, damaged, examples
from google.protobuf import json_format, text_format
from hypothesis import given
from hypothesis import strategies as st
from message_fuzz import messages

from quadriga.config_file import PBTXT_FILE, TOML_FILE, load_model_config, parse_model_config
from quadriga.errors import ConfigError, InvalidInput
from quadriga.export_file import NOTHING, Export, read_export
from quadriga.load_parameters import read_load_parameters
from quadriga.model_files import LABELS_FILE, read_folder
from quadriga.tokens import read_tokens
from quadriga.transports.tls import TlsFiles, read_certificates
from quadriga_proto import inference_pb2
from quadriga_proto.model_config_pb2 import ModelConfig as ConfigMessage

FILES = (TOML_FILE, PBTXT_FILE)
#: One refusal, path and all, has to be readable in a terminal.
LONGEST_REFUSAL = 2_000

GOOD = {
    TOML_FILE: b"""\
backend = "fake"
max_batch_size = 8
[[input]]
name = "x"
data_type = "TYPE_FP32"
dims = [4]
[[output]]
name = "x"
data_type = "TYPE_FP32"
dims = [4]
label_filename = "labels.txt"
[[instance_group]]
kind = "KIND_CPU"
count = 2
[dynamic_batching]
preferred_batch_size = [4, 8]
max_queue_delay_microseconds = 1000
[parameters]
threads = 2
delay_ms = 1.5
[[model_warmup]]
name = "first"
batch_size = 1
[model_warmup.inputs.x]
data_type = "TYPE_FP32"
dims = [4]
zero_data = true
""",
    PBTXT_FILE: b"""\
name: "m" # a comment
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 4, -1 ] format: FORMAT_NONE } ]
output { name: 'y' data_type: TYPE_INT64 dims: 1 label_filename: "labels.txt" }
version_policy: { specific { versions: [1, 2] } }
instance_group [ { count: 1 kind: KIND_GPU gpus: [ 0 ] } ]
dynamic_batching { preferred_batch_size: [ 4 ] priority_levels: 3 default_priority_level: 2
  priority_queue_policy { key: 1 value { max_queue_size: 10 timeout_action: DELAY } } }
parameters { key: "threads" value { string_value: "2" } }
model_warmup [ { name: "w" batch_size: 1
  inputs { key: "x" value { data_type: TYPE_FP32 dims: 4 random_data: true } } } ]
""",
}
KEYS = [field.name for field in ConfigMessage.DESCRIPTOR.fields] + [
    "name",
    "dims",
    "kind",
    "threads",
    "",
    "a.b",
    "\u00e9",
]
NUMBERS = (0, 1, -1, 2**31, 2**63, -(2**63) - 1, 2**70, 10**4000, 0.5, 1e308, -0.0, float("nan"), float("inf"))
WORDS = (
    "", "m", "x", "TYPE_FP32", "TYPE_STRING", "KIND_GPU", "onnx", "own:Class", "module.x:y",
    "../../etc/passwd", "/etc/passwd",
    "a\x00b", "a\nb", "\u2028", "\x1b[31m", "\U0001f600", "z" * 5000, "true", "3", "{}", "\ud800", "labels.txt",
    "9" * 5000,
)  # fmt: skip
#: Anything that JSON and TOML can say, under names that mean something here.
ANYTHING: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=8,
)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A model's folder, beside which lies what no configuration may read."""
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "m"
    (folder / "1").mkdir(parents=True)
    (folder / "1" / "model.fake").write_text("{}")
    (folder / LABELS_FILE).write_text("cat\ndog\n")
    yield folder
    assert {path.name for path in tmp_path.iterdir()} == {"m", "secret.txt"}, "something was written"


def check(folder: Path, name: str, content: bytes) -> bool:
    """Whether a file was taken; when it was refused, in one line that names it."""
    path = folder / name
    path.write_bytes(content)
    try:
        load_model_config(folder, "m")
    except ConfigError as error:
        text = str(error)
        assert text.startswith(f"{path}: ")
        check_refusal(text)
        return False
    finally:
        path.unlink()
    return True


def check_refusal(text: str) -> None:
    """It is one line, of which nothing changes a terminal's state, and not endless."""
    assert text.isprintable(), repr(text)
    assert len(text) <= LONGEST_REFUSAL, len(text)


@pytest.mark.parametrize("name", FILES)
def test_damaged_files(folder: Path, name: str) -> None:
    assert check(folder, name, GOOD[name])
    taken = sum(check(folder, name, damaged(GOOD[name], chance(name, index))) for index in range(CASES // 10))
    assert 0 < taken < CASES // 10, taken


@pytest.mark.parametrize("name", FILES)
def test_any_bytes(folder: Path, name: str) -> None:
    @examples(CASES // 50)
    @given(st.binary(max_size=80) | st.text(max_size=40).map(lambda text: text.encode(errors="replace")))
    def read(content: bytes) -> None:
        check(folder, name, content)

    read()


def test_messages_of_any_structure_as_text(folder: Path) -> None:
    @examples(CASES // 50)
    @given(messages(ConfigMessage.DESCRIPTOR))
    def read(message: ConfigMessage) -> None:
        check(folder, PBTXT_FILE, text_format.MessageToString(message).encode())

    read()


def test_json_of_any_structure() -> None:
    @examples(CASES // 25)
    @given(
        st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=5).map(json.dumps)
        | messages(ConfigMessage.DESCRIPTOR).map(json_format.MessageToJson)
        | st.text(max_size=30)
    )
    def read(text: str) -> None:
        try:
            parse_model_config("m", text)
        except ConfigError as error:
            check_refusal(str(error))

    read()


def test_toml_of_any_structure(folder: Path) -> None:
    @examples(CASES // 25)
    @given(st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=5))
    def read(tables: dict[str, Any]) -> None:
        lines = [f"{json.dumps(key)} = {_toml(value)}" for key, value in tables.items()]
        check(folder, TOML_FILE, "\n".join(lines).encode(errors="surrogatepass"))

    read()


def _toml(value: object) -> str:
    """A value as TOML has it, right or nearly so."""
    match value:
        case dict():
            return "{" + ", ".join(f"{json.dumps(key)} = {_toml(each)}" for key, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case None:
            return "1979-05-27T07:32:00Z"
        case bool() | str():
            return json.dumps(value)
    return str(value)


#: By what it is called, a file that asks for too much of something.
EXCESSES = {
    "deep arrays": (TOML_FILE, b"max_batch_size = " + b"[" * 100_000),
    "deep arrays that end": (TOML_FILE, b"max_batch_size = " + b"[" * 50_000 + b"]" * 50_000),
    "deep tables": (TOML_FILE, b"parameters = " + b"{a=" * 5_000 + b"1" + b"}" * 5_000),
    "deep keys": (TOML_FILE, b"a." * 50_000 + b"a = 1"),
    "deep headers": (TOML_FILE, b"[" + b"a." * 50_000 + b"a]"),
    "a long number": (TOML_FILE, b"max_batch_size = " + b"9" * 100_000),
    "a long hexadecimal": (TOML_FILE, b"max_batch_size = 0x" + b"f" * 100_000),
    "a long exponent": (TOML_FILE, b"max_batch_size = 1e" + b"9" * 100_000),
    "a long word": (TOML_FILE, b'backend = "' + b"z" * 1_000_000 + b'"'),
    "a long key": (TOML_FILE, b"z" * 1_000_000 + b" = 1"),
    "a long parameter": (TOML_FILE, b"[parameters]\nthreads = " + b"9" * 4_000),
    "a parameter that is a long text": (TOML_FILE, b'[parameters]\nthreads = "' + b"9" * 100_000 + b'"'),
    "many warm-ups": (TOML_FILE, b"[[model_warmup]]\nbatch_size = 1\n" * 2_000 + b"[[model_warmup]]\nbatch_size = 0"),
    "deep messages": (PBTXT_FILE, b"input {" * 100_000),
    "deep lists": (PBTXT_FILE, b"input [" * 100_000),
    "deep unknown messages": (PBTXT_FILE, b"model_warmup { inputs { value { " + b"x { " * 100_000),
    "a text without an end": (PBTXT_FILE, b'name: "' + b"z" * 1_000_000),
    "a long number of a message": (PBTXT_FILE, b"max_batch_size: " + b"9" * 100_000),
    "a long octal": (PBTXT_FILE, b"max_batch_size: 0" + b"7" * 100_000),
    "an extension": (PBTXT_FILE, b'[type.googleapis.com/inference.ModelConfig] { name: "m" }'),
    "nothing but a byte order mark": (TOML_FILE, b"\xef\xbb\xbf"),
    "UTF-16": (PBTXT_FILE, 'name: "m"'.encode("utf-16")),
    "a number that is not one": (TOML_FILE, b"max_batch_size = nan"),
    "a day": (TOML_FILE, b"max_batch_size = 1979-05-27"),
    "a NUL": (TOML_FILE, b'default_model_filename = "a\\u0000b"'),
    "escapes of a terminal": (TOML_FILE, b'backend = "\\u001b[31m\\n\\u2028"'),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", EXCESSES)
def test_excesses_are_refused(folder: Path, what: str) -> None:
    name, content = EXCESSES[what]
    if what != "nothing but a byte order mark":
        assert not check(folder, name, content)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"input": ' * 100_000, '{"max_batch_size": ' + "9" * 100_000 + "}"])
def test_excesses_of_json_are_refused(text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        parse_model_config("m", text)
    check_refusal(str(refusal.value))


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", [*FILES, LABELS_FILE])
def test_only_files_of_a_bounded_size_are_read(folder: Path, name: str) -> None:
    path = folder / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)  # reading it would wait for ever
    assert refusal_of(folder, name).endswith("expected a file")
    path.unlink()
    path.symlink_to("/dev/zero")  # reading it would end with the memory
    assert ("is a device" in refusal_of(folder, name)) or ("is a link out of" in refusal_of(folder, name))
    path.unlink()
    path.mkdir()
    assert refusal_of(folder, name).endswith("expected a file")
    path.rmdir()
    with path.open("wb") as file:
        file.truncate(1 << 40)
    assert "bytes; expected at most" in refusal_of(folder, name)


def refusal_of(folder: Path, name: str) -> str:
    """Why a model's folder cannot be served, which names one of its files."""
    error = read_folder("m", folder).error
    assert error is not None
    assert str(folder / name) in error
    check_refusal(error)
    return error


@pytest.mark.parametrize(
    "file", ["../secret.txt", "/etc/passwd", "a/../../secret.txt", "link", "links/secret.txt", ".", ""]
)
def test_labels_lie_in_the_models_folder(folder: Path, file: str) -> None:
    (folder / "link").symlink_to(folder.parent / "secret.txt")
    (folder / "links").symlink_to(folder.parent)
    config = GOOD[TOML_FILE].replace(b'"labels.txt"', json.dumps(file).encode())
    (folder / TOML_FILE).write_bytes(config)
    model = read_folder("m", folder)
    assert "secret" not in str(model.output_labels)
    if file:  # none is no file
        assert model.error is not None
        check_refusal(model.error)


def test_a_link_within_the_folder_is_followed(folder: Path) -> None:
    """As Kubernetes mounts files."""
    (folder / "..data").mkdir()
    (folder / LABELS_FILE).rename(folder / "..data" / LABELS_FILE)
    (folder / LABELS_FILE).symlink_to(f"..data/{LABELS_FILE}")
    (folder / TOML_FILE).write_bytes(GOOD[TOML_FILE])
    model = read_folder("m", folder)
    assert (model.labels, model.output_labels) == (("cat", "dog"), {"x": ("cat", "dog")})


@pytest.mark.timeout(60)
def test_export_files_of_any_kind(folder: Path) -> None:
    good = b'{"accuracy": 0.5, "dataset": "digits"}'
    path = folder / "export.json"
    path.write_bytes(good)
    assert read_export(folder) == Export(accuracy=0.5, dataset="digits")
    for index in range(CASES // 10):
        path.write_bytes(damaged(good, chance("export.json", index)))
        export = read_export(folder)
        inference_pb2.ModelMetadataResponse(properties=export.properties()).SerializeToString()
    for content in (b"[" * 1_000_000, b'{"accuracy": 1e999}', b'{"dataset": "\\ud800"}', b"9" * 100_000):
        path.write_bytes(content)
        assert read_export(folder) == NOTHING
    path.unlink()
    os.mkfifo(path)
    assert read_export(folder) == NOTHING


def test_parameters_of_loads() -> None:
    """Paths that lead elsewhere, and configurations of any kind."""
    parameter = inference_pb2.ModelRepositoryParameter
    config = parameter(string_param='{"backend": "onnx"}')
    parts = st.sampled_from(
        ["", ".", "..", "1", "0", "01", "-1", "model.onnx", "a\\b", "\x00", "\n", "a" * 300, "\u00e9", "/"]
    )
    values = st.sampled_from([parameter(bytes_param=b"x"), parameter(string_param="x"), parameter(), config])

    @examples(CASES // 10)
    @given(st.dictionaries(st.lists(parts, max_size=5).map(lambda each: "file:" + "/".join(each)), values, max_size=3))
    def read(parameters: dict[str, inference_pb2.ModelRepositoryParameter]) -> None:
        try:
            given = read_load_parameters("m", {"config": config, **parameters})
        except InvalidInput:
            return
        for path in given.files:
            assert not path.is_absolute()
            assert ".." not in path.parts
            assert path.parts[0] == "1"

    read()


def test_token_files_of_any_kind(tmp_path: Path) -> None:
    path = tmp_path / "tokens"

    @examples(CASES // 50)
    @given(
        st.binary(max_size=60)
        | st.lists(st.sampled_from([b"abc", b"a=b", b"# c", b"\x00", b"\xff", b""])).map(b"\n".join)
    )
    def read(content: bytes) -> None:
        path.write_bytes(content)
        try:
            assert all(read_tokens(path))
        except ConfigError as error:
            check_refusal(str(error))
            assert str(path) in str(error)

    read()


def test_certificates_of_any_kind(tmp_path: Path) -> None:
    """OpenSSL reads them, and gRPC's core only what OpenSSL took."""
    certificate, key = Authority(tmp_path, "fuzzed").own
    files = TlsFiles(certificate, key, certificate)
    read_certificates(files)
    good = {path: path.read_bytes() for path in (certificate, key)}
    for index in range(CASES // 20):
        path = (certificate, key)[index % 2]
        path.write_bytes(damaged(good[path], chance(path.suffix, index)))
        try:
            read_certificates(files)
        except ConfigError as error:
            check_refusal(str(error))
            assert str(path) in str(error)
        path.write_bytes(good[path])

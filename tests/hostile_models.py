"""Model files made to do harm, by name: what each would do, and what the server has to say of it.

Most are the demo models with something put into their archives. Those of ONNX and of HDF5 are made by `main`, in a
process of its own: pytest's imports no framework.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

FILES = {
    "savedmodel": "model.savedmodel",
    "keras": "model.keras",
    "torchscript": "model.pt",
    "onnx": "model.onnx",
}
#: What hostile files try to write, anywhere.
ESCAPED = "escaped-from-a-model"
#: What they try to read; it stands beside the repository.
SECRET = "secret-of-the-server"
BOMB_BYTES = 512 << 20
#: The rest of a pickle that writes a file where it is loaded by Python.
PICKLE = f"cos\nsystem\n(S'touch /tmp/{ESCAPED}'\ntR.".encode()

Archive = Mapping[str, bytes]


def write_archive(path: Path, source: Path, changes: Archive, bombs: Mapping[str, int] | None = None) -> None:
    """A copy of a zip archive with some members in place of those of their name, or added.

    Args:
        path: Of the copy.
        source: Of the archive.
        changes: Content by name.
        bombs: Size by name: so many zeros, compressed.
    """
    with zipfile.ZipFile(source) as good, zipfile.ZipFile(path, "w", compresslevel=1) as made:
        for member in good.infolist():
            if member.filename not in changes and member.filename not in (bombs or {}):
                made.writestr(member.filename, good.read(member))
        for name, content in changes.items():
            made.writestr(name, content)
        for name, size in (bombs or {}).items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry._compresslevel = 1  # type: ignore[attr-defined]
            with made.open(entry, "w", force_zip64=True) as target:
                for _ in range(size >> 20):
                    target.write(bytes(1 << 20))


def keras_config(source: Path, change: Callable[[dict[str, Any]], None]) -> Archive:
    """The config.json of a Keras model with something changed in it."""
    with zipfile.ZipFile(source) as archive:
        config = json.loads(archive.read("config.json"))
    change(config)
    return {"config.json": json.dumps(config).encode()}


def _instead_of_a_layer(module: str, class_name: str, config: Any) -> Callable[[dict[str, Any]], None]:
    def change(tree: dict[str, Any]) -> None:
        layer = tree["config"]["layers"][1]
        layer.update(module=module, class_name=class_name, config=config, registered_name=class_name)

    return change


#: By name of the model, what its reason has to say.
REASONS = {
    "keras_bomb": "zip bomb",
    "keras_crowd": "members",
    "keras_traversal": "leads out of it",
    "keras_absolute": "leads out of it",
    "keras_lambda": "Lambda",
    "keras_function": "custom class 'system'",
    "keras_class": "custom class",
    "keras_reads_file": "keras_reads_file",
    "keras_deep_config": "keras_deep_config",
    "keras_broken_directory": "is damaged",
    "keras_links_elsewhere": "keras_links_elsewhere",
    "torchscript_bomb": "zip bomb",
    "torchscript_traversal": "leads out of it",
    "torchscript_pickle": "is no TorchScript archive that can run",
    "torchscript_no_code": "is no TorchScript archive that can run",
    "torchscript_deep_metadata": "quadriga.json",
    "savedmodel_of_nonsense": "is no SavedModel that can run",
    "savedmodel_without_variables": "savedmodel_without_variables",
    "savedmodel_damaged_variables": "savedmodel_damaged_variables",
    "onnx_outside": "is no ONNX model that can run",
    "onnx_absolute": "is no ONNX model that can run",
    "onnx_missing": "is no ONNX model that can run",
    "onnx_cycle": "is no ONNX model that can run",
    "onnx_unknown": "is no ONNX model that can run",
    "onnx_huge": "is no ONNX model that can run",
    "onnx_fills_memory": "onnx_fills_memory",
    "onnx_wide": "onnx_wide",
    "onnx_deep_labels": "labels",
    "onnx_labels_of_half_a_character": "labels",
    "onnx_is_a_folder": "has no model",
    "onnx_is_a_pipe": "expected a file or a folder",
    "onnx_of_nonsense": "is no ONNX model that can run",
}


def write_hostile_models(repository: Path, demo: Path) -> None:
    """A model for each of `REASONS`."""
    good = {kind: demo / f"same_{kind}" / "1" / file for kind, file in FILES.items()}
    places = {}
    for name in REASONS:
        kind = name.partition("_")[0]
        folder = repository / name / "1"
        folder.mkdir(parents=True)
        places[name] = folder / FILES[kind]
    (repository.parent / SECRET).write_bytes(b"\x01" * 4096)
    _write_keras(places, good["keras"])
    _write_torchscript(places, good["torchscript"])
    _write_saved_models(places, good["savedmodel"])
    places["onnx_is_a_folder"].mkdir()
    os.mkfifo(places["onnx_is_a_pipe"])
    config = places["onnx_is_a_pipe"].parents[1] / "model.toml"
    config.write_text(f'backend = "onnx"\ndefault_model_filename = "{FILES["onnx"]}"\n')
    places["onnx_of_nonsense"].write_bytes(b"\x08\x07" + b"\xff" * 100)
    command = [sys.executable, __file__, str(repository), str(good["keras"])]
    subprocess.run(command, check=True, capture_output=True)


def _write_keras(places: Mapping[str, Path], good: Path) -> None:
    def write(name: str, changes: Archive, **bombs: int) -> None:
        members = {"config": "config.json", "weights": "model.weights.h5"}
        write_archive(places[name], good, changes, {members[member]: size for member, size in bombs.items()})

    write("keras_bomb", {}, weights=BOMB_BYTES)
    write("keras_crowd", {f"assets/{number}": b"" for number in range(20_001)})
    write("keras_traversal", {f"../../{ESCAPED}": b"x", f"assets/../../../{ESCAPED}": b"x"})
    write("keras_absolute", {f"/tmp/{ESCAPED}": b"x"})
    code = {"class_name": "__lambda__", "config": {"code": "4wAAAA==", "defaults": None, "closure": None}}
    write(
        "keras_lambda",
        keras_config(good, _instead_of_a_layer("keras.layers", "Lambda", {"name": "l", "function": code})),
    )
    write("keras_function", keras_config(good, _instead_of_a_layer("os", "function", "system")))
    write(
        "keras_class",
        keras_config(good, _instead_of_a_layer("subprocess", "Popen", {"args": ["touch", f"/tmp/{ESCAPED}"]})),
    )
    secret = str(places["keras_reads_file"].parents[3] / SECRET)
    look_up = {"name": "l", "vocabulary": secret, "max_tokens": None, "num_oov_indices": 1, "mask_token": None}
    write("keras_reads_file", keras_config(good, _instead_of_a_layer("keras.layers", "StringLookup", look_up)))
    write("keras_deep_config", {"config.json": b'{"a":' * 100_000})
    content = good.read_bytes()
    directory = content.rindex(b"PK\x01\x02")
    places["keras_broken_directory"].write_bytes(content[:directory] + b"\x00" * 4 + content[directory + 4 :])


def _write_torchscript(places: Mapping[str, Path], good: Path) -> None:
    write_archive(places["torchscript_bomb"], good, {}, {"model/constants/0": BOMB_BYTES})
    write_archive(places["torchscript_traversal"], good, {f"model/../../{ESCAPED}": b"x"})
    write_archive(places["torchscript_pickle"], good, {"model/data.pkl": PICKLE, "model/constants.pkl": PICKLE})
    write_archive(places["torchscript_no_code"], good, {"model/code/__torch__/___torch_mangle_1.py": b"import os\n"})
    write_archive(places["torchscript_deep_metadata"], good, {"model/extra/quadriga.json": b"[" * 100_000})


def _write_saved_models(places: Mapping[str, Path], good: Path) -> None:
    for name, place in places.items():
        if name.startswith("savedmodel"):
            shutil.copytree(good, place)
    graph = places["savedmodel_of_nonsense"] / "saved_model.pb"
    graph.write_bytes(b"\xff" * 1_000)
    shutil.rmtree(places["savedmodel_without_variables"] / "variables")
    for file in (places["savedmodel_damaged_variables"] / "variables").iterdir():
        file.write_bytes(file.read_bytes()[::-1])


def _write_onnx(repository: Path) -> None:
    from onnx import TensorProto, helper

    def write(
        name: str, nodes: list[Any], initializers: list[Any] | None = None, size: int = 4, labels: str = ""
    ) -> None:
        shape = ["n", size]
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
            initializers or [],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        if labels:
            entry = model.metadata_props.add()
            entry.key, entry.value = "labels", labels
        (repository / name / "1" / "model.onnx").write_bytes(model.SerializeToString())

    def external(location: str) -> Any:
        tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
        for key, value in (("location", location), ("offset", "0"), ("length", "16")):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, value
        return tensor

    add = [helper.make_node("Add", ["x", "w"], ["y"])]
    relu = [helper.make_node("Relu", ["x"], ["y"])]
    write("onnx_outside", add, [external(f"../../../{SECRET}")])
    write("onnx_absolute", add, [external(str(repository.parent / SECRET))])
    write("onnx_missing", add, [external("weights.bin")])
    write("onnx_cycle", [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Add", ["a", "a"], ["b"]), *relu])
    write("onnx_unknown", [helper.make_node("Explode", ["x"], ["y"], domain="ai.hostile")])
    write(
        "onnx_huge",
        add,
        [TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 20, 1 << 20], raw_data=b"1234")],
    )
    fill = helper.make_node("ConstantOfShape", ["s"], ["w"])
    sizes = helper.make_tensor("s", TensorProto.INT64, [2], [1 << 20, 1 << 20])
    write(
        "onnx_fills_memory",
        [fill, helper.make_node("ReduceSum", ["w"], ["r"], keepdims=0), helper.make_node("Add", ["x", "r"], ["y"])],
        [sizes],
    )
    write("onnx_wide", relu, size=1 << 45)
    write("onnx_deep_labels", relu, labels="[" * 100_000)
    write("onnx_labels_of_half_a_character", relu, labels='["\\ud800"]')


def _write_hdf5(repository: Path, good: Path) -> None:
    """Weights whose bytes lie in another file: the server's own."""
    import io

    import h5py

    with zipfile.ZipFile(good) as archive:
        file = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(file, "r+") as weights:
        found: list[Any] = []
        weights.visititems(lambda name, item: found.append((name, item)) if isinstance(item, h5py.Dataset) else None)
        name, item = found[0]
        shape, dtype = item.shape, item.dtype
        del weights[name]
        secret = str(repository.parent / SECRET)
        weights.create_dataset(name, shape, dtype, external=[(secret, 0, h5py.h5f.UNLIMITED)])
    write_archive(
        repository / "keras_links_elsewhere" / "1" / FILES["keras"], good, {"model.weights.h5": file.getvalue()}
    )


if __name__ == "__main__":
    _write_onnx(Path(sys.argv[1]))
    _write_hdf5(Path(sys.argv[1]), Path(sys.argv[2]))

"""inspect: what it says of files that are sound, broken, huge, hostile or none, and with which exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_models as TINY
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from edgekd.cli import main
from edgekd.core.files import sha256_of


def inspect(*words):
    return CliRunner().invoke(main, ["inspect", *(str(word) for word in words)])


def _document(*words):
    result = inspect(*words, "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == document["exit_code"], result.stderr
    return document


def test_a_sound_file_passes_for_the_runtime_it_shows_itself_to_be_for(tmp_path):
    path = TINY.symmetric_model(tmp_path / "ä b.onnx")
    document = _document(path)
    assert (document["verdict"], document["exit_code"], document["errors"]) == ("PASS", 0, 0)
    assert document["for"] == [{"runtime": "tensorrt", "tensorrt": None}] and "zero point 0" in document["because"]
    assert (document["model"]["sha256"], document["model"]["opset"]) == (sha256_of(path), {"ai.onnx": 13})
    assert [(one["name"], one["precision"], one["reason"]) for one in document["layers"]] == [
        ("conv", "int8", None),
        ("fc", "int8", None),
    ]
    both = _document(TINY.float_model(tmp_path / "float.onnx"))
    assert [one["runtime"] for one in both["for"]] == ["onnxruntime", "tensorrt"]
    assert {one["reason"] for one in both["layers"]} == {"the file rounds nothing"}


def test_a_broken_file_fails_with_the_node_what_it_means_and_the_fix(tmp_path):
    path = TINY.symmetric_model(tmp_path / "asymmetric.onnx", zero_point=3)
    result = inspect(path, "--for", "tensorrt")
    lines = result.stdout.splitlines()
    assert result.exit_code == 3 and lines[0] == "error    asymmetric"
    assert lines[1].strip() == "input_q: zero point 3" and "TensorRT refuses" in lines[2] and "help:" in lines[3]
    assert lines[-1] == "FAIL (exit 3): asymmetric.onnx has 1 error, 0 warnings for tensorrt"
    assert _document(path)["for"][0]["runtime"] == "onnxruntime"  # nobody else takes it


def test_a_device_or_a_version_decides_which_opset_is_too_new(tmp_path):
    path = TINY.float_model(tmp_path / "17.onnx", batch=1, opset=17)
    assert _document(path, "--for", "tensorrt:8.5")["errors"] == 0
    old = _document(path, "--for", "tensorrt:8.2.1.8")
    assert [one["rule"] for one in old["findings"]] == ["opset"] and old["for"][0]["tensorrt"] == "8.2"
    device = _document(path, "--for", "jetson-nano")
    assert device["for"] == [{"runtime": "tensorrt", "tensorrt": "8.2", "device": "jetson-nano"}] and device["errors"] == 1
    assert _document(path, "--for", "local-cpu")["for"] == [{"runtime": "onnxruntime", "tensorrt": None, "device": "local-cpu"}]


@pytest.mark.parametrize("asked", ["tensorrt:x", "tensorrt:7.1", "tensorrt:", "onnxruntime:1.20", "jetson-orin-nono", ""])
def test_what_it_cannot_be_for_is_refused_with_what_it_can(tmp_path, asked):
    result = inspect(TINY.float_model(tmp_path / "a.onnx"), "--for", asked)
    assert result.exit_code == 2 and result.stderr.startswith("--for: ") and "help: " in result.stderr


def _file(path, content):
    path.write_bytes(content)
    return path


def _huge(path):
    with path.open("wb") as file:
        file.truncate(3 << 30)
    return path


def _pipe(path):
    os.mkfifo(path)
    return path


NO_MODELS = {
    "missing": lambda path: path,
    "a folder": lambda path: path.mkdir() or path,
    "empty": lambda path: _file(path, b""),
    "text": lambda path: _file(path, b"name: value\n" * 100),
    "a picture": lambda path: _file(path, b"\x89PNG\r\n\x1a\n" + bytes(300)),
    "huge": _huge,
    "a pipe": _pipe,
    "cut short": lambda path: _file(path, TINY.float_model(path).read_bytes()[:-100]),
    "nested without end": lambda path: _file(path, _nested(20_000)),
}


def _nested(depth):
    """A graph whose node's attribute holds a graph, and so on: deeper than any parser follows."""
    content = b""
    for _ in range(depth):
        for tag in (0x32, 0x2A, 0x0A):  # AttributeProto.g, NodeProto.attribute, GraphProto.node
            content = bytes([tag]) + _varint(len(content)) + content
    return b"\x3a" + _varint(len(content)) + content  # ModelProto.graph


def _varint(value):
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*made, value])


@pytest.mark.parametrize("case", NO_MODELS)
def test_what_is_no_model_is_bad_input_told_in_words(tmp_path, case):
    result = inspect(NO_MODELS[case](tmp_path / "model.onnx"))
    assert result.exit_code == 2 and "ONNX" in result.stderr and "bug" not in result.stderr


def test_no_file_that_a_model_names_is_opened(tmp_path, monkeypatch):
    """Weights in other files, one of them outside the folder, one that is there: all stay unread, and none is loaded."""
    model = onnx.load(TINY.symmetric_model(tmp_path / "a.onnx"))
    for tensor, place in zip(model.graph.initializer, ("../un-told", "/etc/un-told", "un-told.bin"), strict=False):
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=place)
    (tmp_path / "un-told.bin").write_bytes(bytes(1000))
    path = _file(tmp_path / "outside.onnx", model.SerializeToString())
    script = "import sys; sys.addaudithook(lambda event, args: event == 'open' and print('OPENED', args[0]));" \
        "from edgekd.cli import main; main()"  # fmt: skip
    told = subprocess.run(
        [sys.executable, "-c", script, "inspect", str(path), "--json"], capture_output=True, text=True, check=False
    )
    opened = [line for line in told.stdout.splitlines() if line.startswith("OPENED")]
    assert told.returncode == 3 and any("outside.onnx" in line for line in opened)
    assert not any("un-told" in line for line in opened)
    found = {one["rule"]: one["seen"] for one in _document(path)["findings"]}
    assert (
        "2 more in ../un-told, /etc/un-told, un-told.bin" in found["external-data"]
        and found["external-outside"] == "/etc/un-told"
    )


def test_names_cannot_steer_the_terminal(tmp_path):
    model = onnx.load(TINY.symmetric_model(tmp_path / "a.onnx", zero_point=3))
    model.graph.node[0].name = "\x1b[2J\nPASS" + "x" * 10_000
    path = _file(tmp_path / "evil.onnx", model.SerializeToString())
    shown = inspect(path, "--for", "tensorrt").stdout
    assert "\x1b" not in shown and "\\x1b[2J\\nPASS" in shown and max(map(len, shown.splitlines())) < 400
    assert "\x1b" not in json.dumps(_document(path, "--for", "tensorrt"), ensure_ascii=False)


def test_a_model_broken_anywhere_is_told_of_and_never_a_traceback(tmp_path):
    """One byte changed, 400 times over two files: each ends with a verdict or as bad input."""
    random = np.random.default_rng(0)
    from edgekd.core import InputError
    from edgekd.pipeline.inspect import inspect as inspected

    ends = set()
    for sound in (TINY.symmetric_model(tmp_path / "s.onnx"), TINY.int8_model(tmp_path / "i.onnx", 64)):
        content = sound.read_bytes()
        for place in random.integers(0, len(content), 200):
            broken = bytearray(content)
            broken[place] = random.integers(0, 256)
            try:
                ends.add(inspected(_file(tmp_path / "broken.onnx", bytes(broken)), None)["verdict"])
            except InputError:
                ends.add("input")
    assert ends == {"PASS", "FAIL", "input"}


ODD = {
    "a scale of strings": lambda g: g.initializer.append(helper.make_tensor("s", TensorProto.STRING, [1], [b"x"])),
    "a scale of complex numbers": lambda g: g.initializer.append(numpy_helper.from_array(np.ones(1, "c8"), "s")),
    "a shape that is a lie": lambda g: g.initializer.append(TensorProto(name="s", data_type=1, dims=[1 << 40], raw_data=b"1")),
    "a negative shape": lambda g: g.initializer.append(TensorProto(name="s", data_type=1, dims=[-3], raw_data=b"1234")),
    "an unknown type": lambda g: g.initializer.append(TensorProto(name="s", data_type=99, dims=[1], raw_data=b"1")),
    "an axis that is a word": lambda g: g.node[0].attribute.append(helper.make_attribute("axis", "one")),
    "no inputs": lambda g: g.node[0].ClearField("input"),
    "no outputs": lambda g: g.node[0].ClearField("output"),
    "a loop": lambda g: g.node[0].input.__setitem__(0, "y"),
    "an optional input left out": lambda g: g.node[0].input.__setitem__(1, ""),
}


@pytest.mark.parametrize("case", ODD)
@pytest.mark.parametrize("runtime", ["onnxruntime", "tensorrt"])
def test_odd_graphs_are_told_of(tmp_path, case, runtime):
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "s"], ["q"]), helper.make_node("DequantizeLinear", ["q", "s", "s"], ["d"]),
        helper.make_node("Conv", ["d", "s", "s"], ["c"]), helper.make_node("Identity", ["c"], ["y"]),
    ]  # fmt: skip
    graph = helper.make_graph(nodes, "g", [image], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    ODD[case](graph)
    path = _file(tmp_path / "odd.onnx", helper.make_model(graph).SerializeToString())
    assert _document(path, "--for", runtime)["errors"] >= 1


def test_a_long_graph_takes_time_by_its_length_alone(tmp_path):
    """20,000 moves, joins and pairs in a row; by the square of that it would take many minutes."""
    ops = [("Identity", 1), ("Concat", 2), ("QuantizeLinear", 2), ("DequantizeLinear", 2), ("Add", 2), ("Relu", 1)]
    nodes, before = [], "x"
    for number in range(20_000):
        op, inputs = ops[number % len(ops)] if number > 10_000 else ops[number % 2]
        nodes.append(helper.make_node(op, [before, "s" if "Linear" in op else "x"][:inputs], [f"t{number}"]))
        before = f"t{number}"
    image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])
    output = helper.make_tensor_value_info(before, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [image], [output], [numpy_helper.from_array(np.array(1, "f4"), "s")])
    path = _file(tmp_path / "long.onnx", helper.make_model(graph).SerializeToString())
    program = [sys.executable, "-m", "edgekd", "inspect", str(path), "--for", "tensorrt"]
    told = subprocess.run(program, capture_output=True, text=True, timeout=120, check=False)
    assert told.returncode == 3 and "nodes, opset" in told.stdout


def test_without_the_onnx_package_the_line_to_install_it_is_told(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name == "onnx" or name.startswith(("onnx.", "edgekd.export.lint"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("edgekd.export.lint", raising=False)
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = inspect(_file(tmp_path / "a.onnx", b"x"))
    assert result.exit_code == 5 and "onnx package" in result.stderr and "pip install" in result.stderr


def test_it_needs_no_torch():
    program = "import sys; import edgekd.pipeline.inspect, edgekd.export.lint; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parents[2], check=False).returncode == 0

"""Every name and argument count our code asks of TensorRT's Python module is one the version publishes, or is asked for behind a
check. The tables are derived from the source of each version's bindings; see tests/conformance."""

import ast
import json
from pathlib import Path

import pytest

from edgekd.device import tensorrt_build, tensorrt_engine, tensorrt_log

TABLES = {
    path.stem: json.loads(path.read_text())["classes"] for path in (Path(__file__).parents[1] / "fixtures/tensorrt_api").iterdir()
}
SOURCES = [
    Path(tensorrt_log.__file__).parent / f"{name}.py"
    for name in ("tensorrt", "tensorrt_build", "tensorrt_engine", "tensorrt_log")
]
MODULE = ("trt", "self._trt", "tensorrt")
HELD = {"builder": "Builder", "parser": "OnnxParser", "config": "IBuilderConfig", "cache": "ITimingCache",
        "inspector": "EngineInspector", "self._runtime": "Runtime",
        "self._engine": "ICudaEngine", "self._context": "IExecutionContext"}  # fmt: skip
CHOSEN = {
    "BuilderFlag": tensorrt_build._PRECISIONS.values(),
    "DataType": tensorrt_engine._NUMPY,
    "ILogger": tensorrt_log._LETTERS,
}
# (first, before): the versions that have what the code asks for only there.
GUARDED = {
    ("ParserError", "node_name"): ((10, 0), (99,)), ("ParserError", "node_operator"): ((10, 0), (99,)),
    ("IBuilderConfig", "builder_optimization_level"): ((8, 6), (99,)), ("BuilderFlag", "FP16"): ((8, 5), (11,)),
    ("BuilderFlag", "INT8"): ((8, 5), (11,)), ("NetworkDefinitionCreationFlag", "EXPLICIT_BATCH"): ((8, 5), (11,)),
    ("NetworkDefinitionCreationFlag", "STRONGLY_TYPED"): ((10, 0), (99,)),
}  # fmt: skip


def asked():
    """{(class, name): the greatest number of arguments it is called with, None where it is no call}."""
    found = {(kind, name): None for kind, names in CHOSEN.items() for name in names}
    for source in SOURCES:
        tree = ast.parse(source.read_text())
        called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "created":
                found[ast.unparse(node.args[0]).partition(".")[2], "__init__"] = 1
            if not isinstance(node, ast.Attribute):
                continue
            of, call = ast.unparse(node.value), called.get(id(node))
            holder, _, kind = of.rpartition(".")
            key = (
                (HELD[of], node.attr)
                if of in HELD
                else (kind, node.attr)
                if holder in MODULE
                else ("", node.attr)
                if of in MODULE
                else None
            )
            if source.name == "tensorrt_build.py" and of == "error":
                key = ("ParserError", node.attr)
            if key and key[1] not in ("__version__", "__init__"):
                if key[0] == "" and call and key[1] in TABLES["10.3.0"]:
                    key = (key[1], "__init__")
                assert call is None or not call.keywords
                found[key] = len(call.args) if call else None
    return found


ASKED = asked()


def test_the_collected_calls_are_those_that_matter():
    assert ASKED["IExecutionContext", "execute_async_v3"] == 1 and ASKED["OnnxParser", "__init__"] == 2
    assert ASKED["", "init_libnvinfer_plugins"] == 2 and ("ParserError", "desc") in ASKED and ("DataType", "HALF") in ASKED
    assert len(ASKED) > 50


@pytest.mark.parametrize("version", sorted(TABLES))
def test_every_name_is_published_in_this_version_or_asked_for_behind_a_check(version):
    table, numbers = TABLES[version], tuple(int(one) for one in version.split("."))
    missing = {(kind, name) for kind, name in ASKED if not (name in table.get(kind, {}) or (kind == "" and name in table))}
    assert missing == {key for key, (first, before) in GUARDED.items() if not first <= numbers < before}


@pytest.mark.parametrize("version", sorted(TABLES))
def test_every_call_has_as_many_arguments_as_this_version_takes(version):
    for (kind, name), count in ASKED.items():
        arguments = TABLES[version].get(kind, {}).get(name)
        if count is not None and arguments is not None:
            required = sum(not one.endswith("=") for one in arguments)
            assert required <= count <= len(arguments), (kind, name, arguments)
        elif name in TABLES[version].get(kind, {}):
            assert (count is None) == (arguments is None), f"{kind}.{name} is asked for as what it is not"


def test_what_is_guarded_is_really_asked_for():
    assert set(GUARDED) <= set(ASKED)

"""The tables of tests/fixtures/tensorrt_api, derived from the source of the bindings.

python tests/conformance/tables.py CLONE      writes them anew; CLONE is a git clone of NVIDIA/TensorRT with its tags
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from pybind_source import api_of

FOLDER = Path(__file__).parents[1] / "fixtures/tensorrt_api"
TAGS = {"8.5.2": "8.5.2", "8.6.1": "v8.6.1", "10.0.1": "v10.0.1", "10.3.0": "v10.3.0", "10.13.3": "v10.13.3", "10.16.0": "v10.16",
        "11.1.0": "v11.1"}  # fmt: skip
CLASSES = ("", "BuilderFlag", "Builder", "DataType", "EngineInspector", "IBuilderConfig", "ICudaEngine", "IExecutionContext",
           "IHostMemory", "ILogger", "ITimingCache", "LayerInformationFormat", "MemoryPoolType", "NetworkDefinitionCreationFlag",
           "OnnxParser", "ParserError", "ProfilingVerbosity", "Runtime", "TensorIOMode")  # fmt: skip
_SOURCES = [f"python/src/{one}.cpp" for one in ("infer/pyCore", "infer/pyFoundationalTypes", "infer/pyPlugin", "parsers/pyOnnx")]


def derived(clone: Path, version: str) -> dict[str, Any]:
    """One table, as ``committed`` returns it, from the tag of that version."""
    tag = TAGS[version]
    shown = [subprocess.run(["git", "-C", str(clone), "show", f"{tag}:{path}"], capture_output=True, text=True, check=True)
             for path in _SOURCES]  # fmt: skip
    api = api_of([one.stdout for one in shown])
    classes = {name: dict(sorted(api[name].items())) for name in CLASSES}
    source = f"github.com/NVIDIA/TensorRT, tag {tag}, python/src"
    return {"tensorrt": version, "source": source, "licence": "Apache-2.0", "classes": classes}


def committed(version: str) -> dict[str, Any]:
    """{"tensorrt", "source", "licence", "classes": {class: {member: argument names, "=" behind optional ones, or None}}}."""
    table: dict[str, Any] = json.loads((FOLDER / f"{version}.json").read_text())
    return table


def write(clone: Path) -> None:
    for version in TAGS:
        table = derived(clone, version)
        classes = ",\n".join(f"  {json.dumps(name)}: {json.dumps(one)}" for name, one in table.pop("classes").items())
        head = json.dumps(table)[:-1]
        (FOLDER / f"{version}.json").write_text(f'{head}, "classes": {{\n{classes}\n}}}}\n')


if __name__ == "__main__":
    write(Path(sys.argv[1]))

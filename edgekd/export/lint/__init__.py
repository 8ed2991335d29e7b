"""The linter: what of an ONNX file a runtime refuses, computes otherwise than meant, or cannot make fast, and how to mend it.

One rule is one small function (``of_files``, ``of_grids``, ``of_weights``, ``of_joins``, ``of_tensorrt``, ``of_onnxruntime``,
``islands``). Sources: the ONNX operator specification; NVIDIA's TensorRT developer guide, "Explicit Quantization", and the
importers of onnx-tensorrt; onnxruntime's QDQ selectors (core/optimizer/qdq_transformer). Nothing of a file is run, and no other
file is opened.
"""

from edgekd.export.lint import islands, of_files, of_grids, of_joins, of_onnxruntime, of_tensorrt, of_weights  # noqa: F401  rules
from edgekd.export.lint.findings import findings, layers, own_findings, purposes_of
from edgekd.export.lint.graph import Graph
from edgekd.export.lint.leaks import leaked_paths
from edgekd.export.lint.reading import read_model
from edgekd.export.lint.rule import ERROR, RULES, RUNTIMES, Finding, Purpose

__all__ = [
    "ERROR", "RULES", "RUNTIMES", "Finding", "Graph", "Purpose", "findings", "layers", "leaked_paths", "own_findings",
    "purposes_of", "read_model",
]  # fmt: skip

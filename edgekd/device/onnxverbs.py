"""What the agent does with onnxruntime: build, timed and infer, as every backend for CPUs offers them, and one round."""

from . import onnxrt, timing
from .arrays import write_array
from .rounds import timed  # noqa: F401  one of the four functions of a backend


def build(request, files):
    """Open each model as it will run; see onnxrt.build."""
    return {"models": {name: onnxrt.build(path, request["threads"]) for name, path in _models(request, files)}}


def one_round(request, files):
    """One round of timing.timed_rounds; "turned": the models in the other order, also when they are opened."""
    example, queries = files.array(request["example"]), {}
    models = _models(request, files)
    for name, path in models[::-1] if request["turned"] else models:
        queries[name] = onnxrt.query(onnxrt.open_session(path, request["threads"], own_process=True), example)
    return timing.timed_rounds(queries, request["plan"], lambda: None)


def infer(request, files):
    """Logits of each of the request's arrays, as an array file of its own."""
    session = onnxrt.open_session(files.checked(request["model"]), request["threads"], request["optimised"])
    outputs = []
    for number, described in enumerate(request["inputs"]):
        path = files.path("logits-%d.npy" % number)
        write_array(path, onnxrt.run(session, files.array(described), request["batch"]))
        outputs.append(files.kept(path))
    return {"outputs": outputs}


def _models(request, files):
    return [(name, files.checked(request["models"][name])) for name in sorted(request["models"])]

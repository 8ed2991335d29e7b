"""What the agent does with onnxruntime: build, timed and infer, as every backend offers them."""

from . import onnxrt, probe, timing
from .arrays import write_array


def build(request, files):
    """Open each model as it will run; see onnxrt.build."""
    return {"models": {name: onnxrt.build(path, request["threads"]) for name, path in _models(request, files)}}


def timed(request, files, sample):
    """The rounds of timing.timed_rounds. "before": the conditions once the sessions are open."""
    example, queries = files.array(request["example"]), {}
    for name, path in _models(request, files):
        queries[name] = onnxrt.query(onnxrt.open_session(path, request["threads"], own_process=True), example)
    before = probe.conditions()
    return dict(timing.timed_rounds(queries, request["plan"], sample), before=before)


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

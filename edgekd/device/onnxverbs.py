"""What the agent does with onnxruntime: build, timed and infer, as every backend offers them, and one round."""

import time

from . import asked, onnxrt, timing
from .arrays import write_array


def build(request, files):
    """Open each model as it will run; see onnxrt.build."""
    return {"models": {name: onnxrt.build(path, request["threads"]) for name, path in _models(request, files)}}


def timed(request, files, sample):
    """The rounds of ``one_round``, each in a process of its own: where a process happens to lay its memory alone moves a small
    model's time by several per cent, and a number that holds for one process only is nobody's."""
    plan = request["plan"]
    done = {"rounds": {}, "waited_share": {}, "spans": {}, "turns": [], "samples": [], "seconds": 0.0}
    one = dict(plan, rounds=1, budget_s=float(plan["budget_s"]) / plan["rounds"])
    for number in range(plan["rounds"]):
        asking = {key: request[key] for key in ("models", "example", "threads")}
        left_s = max(0.1, request["until"] - time.monotonic())
        call = {"name": "round %d" % (number + 1), "verb": "round"}
        answer = asked.ask(files.workdir, call, dict(asking, plan=one, turned=number % 2 == 1, deadline_s=left_s))
        if "rounds" not in (answer["body"] or {}):
            asked.raise_told(answer)
        body = answer["body"]
        for kind in ("rounds", "waited_share", "spans"):
            for name, values in body[kind].items():
                done[kind].setdefault(name, []).extend(values)
        done["turns"] += body["turns"]
        done["seconds"] += body["seconds"]
        done["samples"].append(sample())
    return done


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

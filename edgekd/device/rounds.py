"""Rounds of timing, each in a process of its own, for every backend that opens its models itself."""

import time

from . import asked


def timed(request, files, sample):
    """The rounds of the backend's ``one_round``, each in a process of its own: where a process happens to lay its memory alone
    moves a small model's time by several per cent, and a number that holds for one process only is nobody's."""
    plan = request["plan"]
    done = {"rounds": {}, "waited_share": {}, "spans": {}, "turns": [], "samples": [], "seconds": 0.0}
    one = dict(plan, rounds=1, budget_s=float(plan["budget_s"]) / plan["rounds"])
    for number in range(plan["rounds"]):
        asking = {key: request[key] for key in ("models", "example", "threads", "backend") if key in request}
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

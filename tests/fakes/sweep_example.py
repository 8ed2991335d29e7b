"""An example sweep: every number in it is drawn by a seeded dice, no machine measured any of them."""

import random

from edgekd.core import share
from edgekd.report import ArmPart, RunPart, tabulated

METHODS = {"label": (0.90, 1.0, 1), "kd": (0.93, 1.3, 2), "sld": (0.95, 2.6, 4), "ffkd": (0.932, 3.1, 3)}


def run(arm, seed, top1, *, seconds=10.0, images=1000, n=400):
    dice = random.Random(f"{arm} {seed}")
    easy = [random.Random(f"image {at}").random() for at in range(n)]  # the same images are hard for all
    right = [0.8 * ease + 0.2 * dice.random() < top1 for ease in easy]
    test, held_out = share("top1", right, images="test"), share("top1", right[:100], images="held-out")
    return RunPart.model_validate(
        {"seed": seed, "folder": f"{arm}/seed-{seed}", "test_top1": test.as_json(), "held_out_top1": held_out.as_json(),
         "teacher": "a" * 40, "device": "cpu", "threads": 2, "epochs": 8, "seconds": seconds, "cpu_seconds": 1.9 * seconds,
         "images": {"student": images}}
    )  # fmt: skip


def arm(name, seeds, baseline="kd", **more):
    top1, factor, images = METHODS[name]
    runs = [run(name, seed, top1, seconds=10 * factor, images=1000 * images) for seed in seeds]
    return ArmPart(name=name, baseline=name == baseline, changes=[f"distill.method={name}"], left_out=[], runs=runs, **more)


def document(seeds=(0, 1, 2), arms=None, **more):
    arms = arms or [arm(name, seeds) for name in METHODS]
    arms[0] = arms[0].model_copy(update={"left_out": ["temperatures"]})
    test, held_out = (share("top1", [True] * 97 + [False] * 3, images=where).as_json() for where in ("test", "held-out"))
    return {
        "schema": 1, "exit_code": 0, "sweep": "runs/example-sweep", "recipe": "example.yaml", "name": "example",
        "command": "edgekd sweep example.yaml --vary distill.method=label,kd,sld,ffkd --vary seed=0,1,2 --baseline kd",
        "until": "distill", "baseline": "kd", "seeds": list(seeds), "test_opened": 13, "started": "2030-01-01T10:00:00+0000",
        "seconds": 754.0, "environment": {"edgekd": "0.1.0", "cpus": 2},
        "teachers": [{"key": "a" * 40, "seconds": 60.0, "test_top1": test, "held_out_top1": held_out}],
        "data": {"source": "digits", "classes": ["0", "1"], "counts": {"train": 1200, "held_out": 100, "test": 400}},
        "arms": [one.model_dump(mode="json") for one in tabulated(arms, "kd")], **more,
    }  # fmt: skip

"""Make the recipes of the papers' teacher-student pairs: `python recipes/papers/make.py` writes them beside this file.

Sources. SLD's settings: its released configurations (github.com/StephenEkaputra/Swapped-Logit-Distillation, configs/). FFKD's are
not public; learning rates, epochs and milestones are those of KD and DKD in mdistiller (github.com/megvii-research/mdistiller,
configs/), the rest are edgekd's defaults. Accuracies: README tables of github.com/sunshangquan/logit-standardization-KD and
github.com/zkxufo/TTM. Multiplications: of convolutions and linear layers for one picture, counted on the networks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jinja2

HERE = Path(__file__).parent


class Network(NamedTuple):
    """millions: of multiplications. top1: as a teacher, in %. weights: of the published teacher."""

    millions: float
    top1: str = ""
    weights: str = ""


class Task(NamedTuple):
    """train: pictures that are left when a tenth is held out. shared: settings of both methods."""

    title: str
    path: str
    image_size: int
    train: int
    shared: dict[str, Any]


class Pair(NamedTuple):
    """In %: top1 of the student alone, published as in COLUMNS. Learning rates by method. sld: its weights of CE and KD."""

    task: str
    teacher: str
    student: str
    top1: float
    published: str
    sld_rate: float
    ffkd_rate: float
    sld: tuple[float, float] = (0.1, 0.9)


NETWORKS = {
    "cifar_resnet32x4": Network(1083.0, "79.42", "resnet32x4_vanilla"),
    "cifar_resnet56": Network(125.8, "72.34", "resnet56_vanilla"),
    "cifar_resnet110": Network(253.2, "74.31", "resnet110_vanilla"),
    "cifar_vgg13": Network(284.9, "74.64", "vgg13_vanilla"),
    "cifar_wrn_40_2": Network(327.6, "75.61", "wrn_40_2_vanilla"),
    "cifar_resnet50": Network(1298.0, "79.34", "ResNet50_vanilla"),
    "cifar_resnet8x4": Network(177.1),
    "cifar_resnet20": Network(40.8),
    "cifar_resnet32": Network(69.1),
    "cifar_vgg8": Network(96.2),
    "cifar_wrn_16_2": Network(101.1),
    "cifar_wrn_40_1": Network(83.3),
    "cifar_mobilenet_v2": Network(6.5),
    "cifar_shufflenet_v1": Network(38.7),
    "cifar_shufflenet_v2": Network(44.5),
    "resnet34": Network(3664.0, "73.31", "imagenet"),
    "resnet50": Network(4089.0, "76.16", "resnet50-0676ba61.pth"),
    "resnet18": Network(1814.0),
    "mobilenet_v1": Network(569.0),
}

TASKS = {
    "cifar100": Task(
        "CIFAR-100",
        "cifar-100-python",
        32,
        45_000,
        {"epochs": 240, "batch_size": 64, "momentum": 0.9, "weight_decay": 5e-4, "milestones": [0.625, 0.75, 0.875]},
    ),
    "imagenet": Task(
        "ImageNet",
        "imagenet",
        224,
        1_153_050,
        {"epochs": 100, "batch_size": 512, "momentum": 0.9, "weight_decay": 1e-4, "milestones": [0.3, 0.6, 0.9]},
    ),
}

COLUMNS = ("KD", "DIST", "DKD", "WTTM", "MLKD", "MLKD+LS")
PAIRS = (
    Pair("cifar100", "cifar_resnet32x4", "cifar_resnet8x4", 72.50, "73.33 76.31 76.32 76.06 77.08 78.28", 0.025, 0.05),
    Pair("cifar100", "cifar_vgg13", "cifar_vgg8", 70.36, "72.98 73.89 74.68 74.44 75.18 75.22", 0.025, 0.05),
    Pair("cifar100", "cifar_wrn_40_2", "cifar_wrn_40_1", 71.98, "73.54 74.73 74.81 74.58 75.35 75.56", 0.025, 0.05),
    Pair("cifar100", "cifar_wrn_40_2", "cifar_wrn_16_2", 73.26, "74.92 75.51 76.24 76.37 76.63 76.95", 0.025, 0.05),
    Pair("cifar100", "cifar_resnet56", "cifar_resnet20", 69.06, "70.66 71.75 71.97 71.92 72.19 72.33", 0.025, 0.05),
    Pair("cifar100", "cifar_resnet110", "cifar_resnet32", 71.14, "73.08 73.69 74.11 74.13 74.11 74.32", 0.025, 0.05),
    Pair("cifar100", "cifar_vgg13", "cifar_mobilenet_v2", 64.60, "67.37 68.50 69.71 69.16 70.57 70.94", 0.008, 0.01),
    Pair("cifar100", "cifar_resnet50", "cifar_mobilenet_v2", 64.60, "67.35 68.66 70.35 69.59 71.04 71.19", 0.008, 0.01),
    Pair("cifar100", "cifar_resnet32x4", "cifar_shufflenet_v2", 71.82, "74.45 77.35 77.07 76.55 78.44 78.76", 0.008, 0.01),
    Pair("cifar100", "cifar_resnet32x4", "cifar_shufflenet_v1", 70.50, "74.07 76.34 76.45 74.37 - -", 0.009, 0.01),
    Pair("cifar100", "cifar_wrn_40_2", "cifar_shufflenet_v1", 70.50, "74.83 76.40 76.70 75.42 - -", 0.010, 0.01),
    Pair("imagenet", "resnet34", "resnet18", 69.76, "70.66 72.07 71.70 72.19 - -", 0.2, 0.2, sld=(0.5, 0.5)),
    Pair("imagenet", "resnet50", "mobilenet_v1", 68.87, "70.50 73.24 72.05 73.09 - -", 0.2, 0.2, sld=(1.0, 0.5)),
)  # fmt: skip

METHODS = ("sld", "ffkd")
FEEDBACK_EVERY, FEEDBACK_SHARE = 4, 0.45  # steps; of the training, by ffkd's defaults
FEEDBACK_BATCH_SHARE = {64: 16 / 64, 512: 152 / 512}  # 0.3 by ffkd's defaults, in multiples of 8
FEEDBACK_RATE = 0.05  # times the student's: these teachers have learned from these very pictures, and have little left to learn


def recipes() -> dict[str, str]:
    """Text of every recipe by file name."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True
    )
    template = environment.get_template("recipe.yaml.jinja")
    made = [_content(pair, method) for pair in PAIRS for method in METHODS]
    return {f"{content['name']}.yaml": template.render(content) for content in made}


def _content(pair: Pair, method: str) -> dict[str, Any]:
    task, teacher = TASKS[pair.task], NETWORKS[pair.teacher]
    known = zip(COLUMNS, pair.published.split(), strict=True)
    return {
        "method": method,
        "title": task.title,
        "name": "_".join((pair.task, pair.teacher.removeprefix("cifar_"), pair.student.removeprefix("cifar_"), method)),
        "teacher": pair.teacher,
        "teacher_top1": teacher.top1,
        "student": pair.student,
        "student_top1": f"{pair.top1:.2f}",
        "published": ", ".join(f"{name} {top1}" for name, top1 in known if top1 != "-"),
        "peta": _operations(pair, method) / 1e15,
        "source": pair.task,
        "path": task.path,
        "image_size": task.image_size,
        "weights": f"cifar_teachers/{teacher.weights}/ckpt_epoch_240.pth" if pair.task == "cifar100" else teacher.weights,
        "distill": _distill(pair, method),
        "floor": f"{(pair.top1 - 3) / 100:.2f}",
    }


def _distill(pair: Pair, method: str) -> dict[str, Any]:
    shared = TASKS[pair.task].shared
    if method == "ffkd":
        own = {"feedback_every": FEEDBACK_EVERY, "feedback_learning_rate": FEEDBACK_RATE}
        return {"learning_rate": pair.ffkd_rate, **shared, **own}
    ce_weight, kd_weight = pair.sld
    own = {"ce_weight": ce_weight, "kd_weight": kd_weight, "temperatures": [1, 2, 3, 4, 5, 6]}
    started = {"pseudo_teacher_after": 1.0 if pair.task == "imagenet" else 0.625}
    return {"learning_rate": pair.sld_rate, **shared, "warmup": 0, "gradient_norm": "null", **own, **started}


def _operations(pair: Pair, method: str) -> float:
    """Of distill: two a multiplication; a backward pass costs two forward passes."""
    task = TASKS[pair.task]
    student, teacher = NETWORKS[pair.student].millions, NETWORKS[pair.teacher].millions
    if method == "sld":  # two views
        millions = 2 * (3 * student + teacher)
    else:
        examined = FEEDBACK_SHARE / FEEDBACK_EVERY * FEEDBACK_BATCH_SHARE[task.shared["batch_size"]]
        millions = 3 * student + teacher + examined * (student + 3 * teacher)
    return 2e6 * millions * task.train * float(task.shared["epochs"])


if __name__ == "__main__":
    for name, text in recipes().items():
        (HERE / name).write_text(text, encoding="utf-8")

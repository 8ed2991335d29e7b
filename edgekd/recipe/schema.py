"""Recipe: the user's file, validated and frozen. It names no Python path and runs no code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    PlainValidator,
    PrivateAttr,
    Tag,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from edgekd.core import Gate, RecipeError
from edgekd.core.nearest import did_you_mean
from edgekd.recipe.distill import TEACHER_LEARNS, Distill, Nothing
from edgekd.recipe.fit import Fit, require_ladder_makes_sense, width_or_auto, with_ladder
from edgekd.recipe.gates import nested, read_gates
from edgekd.recipe.metrics import STAGES, gates_json_schema
from edgekd.recipe.problem import Problem, Problems, shown
from edgekd.recipe.section import Identifier, ImageSize, Name, PlainName, Positive, Section, Seed
from edgekd.recipe.source import Source
from edgekd.recipe.target import TargetSpec
from edgekd.recipe.training import Training

_WEIGHTS_WORDS = ("train", "none", "imagenet")
# Keys of a teacher that an ONNX file has no use for; others of its training may be taken over where the student is fine-tuned.
_NOT_OF_ONNX = ("model", "width", "tune", "epochs", "batch_size", "warmup", "milestones", "gradient_norm")


def _no_truth(value: object) -> object:
    if isinstance(value, bool):  # which Python counts as 1
        raise ValueError("must be the number 1")
    return value


def _threads(value: object) -> object:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 1024):
        return value
    raise ValueError("must be auto or a whole number in 1..1024")


def _learning_rate(value: object) -> object:
    if value == "auto":
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 100:
        return float(value)
    raise ValueError("must be auto or a number above 0, at most 100")


def _is_onnx(weights: str) -> bool:
    return weights.lower().endswith(".onnx")


def _weights(*words: str, onnx: bool = False) -> AfterValidator:
    """A word of ``words`` or the path of a weights file. A bare word that is no file name is taken for a misspelt word."""

    def check(value: str) -> str:
        if _is_onnx(value) and "\0" not in value:
            if not onnx:
                raise ValueError("must not be an ONNX file, which cannot be trained", "a .safetensors, .pt or .pth file")
            return value
        if value in words or (("/" in value or value.endswith((".safetensors", ".pt", ".pth"))) and "\0" not in value):
            return value
        what = f"unknown weights {shown(value)}{did_you_mean(value, words)}"
        raise Problems([Problem((), what, value, f"one of: {', '.join(words)}, or the path of a .safetensors, .pt or .pth file")])

    return AfterValidator(check)


def _folder(value: str) -> str:
    if not value.strip() or "\0" in value:
        raise ValueError("must be the path of a folder")
    return value


def _gates(value: object, info: ValidationInfo) -> dict[str, Any]:
    targets = info.data.get("targets")
    return nested(read_gates(value, None if targets is None else list(targets)))


def _refuse_another_width(role: str, weights: str, width: float) -> None:
    if weights == "imagenet" and width != 1:
        what = f"{role}.weights: imagenet are of width 1, and {role}.width is {width:g}"
        raise Problems([Problem(("weights",), what, "imagenet", f"{role}.width: 1, or other weights")])


class Compute(Section):
    """Where training runs. precision auto: bf16 where measured to be faster. devices: how many train together."""

    devices: Annotated[int, Field(ge=1, le=1024)] = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[Literal["auto"] | int, PlainValidator(_threads, json_schema_input_type=Literal["auto"] | int)] = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"


class Data(Section):
    """Images with labels. hflip None: what suits the source (digits are not mirrored, photographs are).

    train_per_class: at most that many images a class are trained on, chosen by ``split_seed``; None: all.
    """

    source: Literal["digits", "imagefolder", "cifar10", "cifar100", "imagenet"]
    path: Annotated[str, AfterValidator(_folder)] | None = None
    image_size: ImageSize
    split_seed: Seed = 0
    hflip: bool | None = None
    train_per_class: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None

    @property
    def height_width(self) -> tuple[int, int]:
        size = self.image_size
        return (size, size) if isinstance(size, int) else size

    @model_validator(mode="after")
    def _path_fits_source(self) -> Data:
        if self.source != "digits" and self.path is None:
            raise Problems(
                [Problem((), f"data.path is missing: {self.source} reads images from a folder", fix="path: FOLDER", on="key")]
            )
        if self.source == "digits" and self.path is not None:
            what = "data.path has no meaning for digits, which come with edgekd"
            raise Problems([Problem(("path",), what, self.path, "leave path out, or use source: imagefolder", on="key")])
        return self


class Normalization(Section):
    """What is taken from pixels in 0..1, and what they are then divided by, channel by channel."""

    mean: Annotated[tuple[float, float, float], Field(strict=False)]
    std: Annotated[tuple[Positive, Positive, Positive], Field(strict=False)]


def _normalization(value: object) -> object:
    if value in ("imagenet", None) or isinstance(value, (Mapping, Normalization)):
        return value
    raise ValueError("must be imagenet or {mean: [r, g, b], std: [r, g, b]}")


_OwnNormalization = Annotated[
    Annotated[Literal["imagenet"], Tag("word")] | Annotated[Normalization, Tag("numbers")],
    Discriminator(lambda value: "word" if isinstance(value, str) else "numbers"),
]


class Teacher(Training):
    """A model with weights from a file or torchvision, or trained here; or an ONNX file, which needs no model.

    tune: which part trains. seed: its own, so that students of other seeds share it; None: the recipe's. normalization: of an
    ONNX file's inputs; None: as the student's.
    """

    model: Identifier | None = None
    width: Annotated[float, Field(gt=0, le=10)] = 1.0
    weights: Annotated[str, _weights("train", "imagenet", onnx=True)] = "train"
    tune: Literal["all", "head"] = "all"
    epochs: Annotated[int, Field(ge=0, le=100_000)] = 0
    seed: Seed | None = None
    normalization: Annotated[
        _OwnNormalization | None, BeforeValidator(_normalization, json_schema_input_type=_OwnNormalization | None)
    ] = None

    @property
    def is_onnx(self) -> bool:
        return _is_onnx(self.weights)

    @model_validator(mode="after")
    def _is_a_model_or_an_onnx_file(self) -> Teacher:
        if not self.is_onnx and self.model is None:
            raise Problems([Problem(("model",), "teacher.model is missing", fix="add model: resnet18", on="key")])
        if not self.is_onnx and self.normalization is not None:
            what = "teacher.normalization is for an ONNX teacher; other teachers see what the student sees"
            raise Problems([Problem(("normalization",), what, fix="leave it out", on="key")])
        if self.is_onnx:
            given = {key: getattr(self, key) for key in _NOT_OF_ONNX}
            misplaced = {key: value for key, value in given.items() if value != type(self).model_fields[key].default}
            what = "teacher.{} has no meaning with an ONNX file, which is used as it is"
            if problems := [
                Problem((key,), what.format(key), str(value), f"leave {key} out", on="key") for key, value in misplaced.items()
            ]:
                raise Problems(problems)
        return self

    @model_validator(mode="after")
    def _has_something_to_learn_from(self) -> Teacher:
        _refuse_another_width("teacher", self.weights, self.width)
        if self.weights == "train" and self.tune == "head":
            what = "teacher.tune: head needs weights that already know something; weights: train starts from nothing"
            raise Problems([Problem(("tune",), what, "head", "use tune: all, weights: imagenet, or a weights file")])
        if self.weights == "train" and self.epochs < 1:
            what = "teacher.weights: train needs epochs, at least 1"
            at = ("epochs",) if "epochs" in self.model_fields_set else ()
            raise Problems(
                [Problem(at, what, str(self.epochs) if at else None, "epochs: 8, or weights: imagenet, or a weights file")]
            )
        return self


class Student(Section):
    """width auto: the widest of ``fit`` that the targets' bounds allow."""

    model: Identifier
    width: Annotated[Literal["auto"] | float, PlainValidator(width_or_auto, json_schema_input_type=Literal["auto"] | float)] = 1.0
    weights: Annotated[str, _weights("none", "imagenet")] = "none"

    @model_validator(mode="after")
    def _weights_have_this_width(self) -> Student:
        if self.width != "auto":
            _refuse_another_width("student", self.weights, self.width)
        return self


class Quantize(Section):
    """mode: ptq, after training; qat, fine-tuned with the rounding in place; auto, ptq if it holds quantize's gates, else qat.

    epochs, distill, batch_size and learning_rate are of the fine-tuning. distill: what the rounded student learns from; none is
    the labels, self its own fp32 weights, teacher the big model. learning_rate auto: by what post-training quantization lost.
    """

    mode: Literal["auto", "ptq", "qat"] = "ptq"
    calibration_images: Annotated[int, Field(ge=1, le=1_000_000)] = 512
    epochs: Annotated[int, Field(ge=1, le=100_000)] = 2
    distill: Literal["none", "self", "teacher", "both"] = "self"
    batch_size: Annotated[int, Field(ge=2, le=65_536)] = 64
    learning_rate: Annotated[
        Literal["auto"] | float, PlainValidator(_learning_rate, json_schema_input_type=Literal["auto"] | float)
    ] = "auto"


class Recipe(Section):
    """What to make of which images, for which targets, and how good it must be. ``load`` is the way to read one from a file."""

    edgekd: Annotated[Literal[1], BeforeValidator(_no_truth)]
    name: Name
    seed: Seed = 0
    compute: Compute = Compute()
    data: Data
    teacher: Teacher
    student: Student
    fit: Fit | None = None
    distill: Distill
    quantize: Quantize = Quantize()
    targets: Annotated[dict[PlainName, TargetSpec], Field(min_length=1, max_length=64)]
    gates: Annotated[dict[str, Any], PlainValidator(_gates), Field(default_factory=dict, json_schema_extra=gates_json_schema)]

    _source: Source | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _fit_has_its_defaults(cls, data: object) -> object:
        return with_ladder(data)

    @model_validator(mode="after")
    def _parts_fit(self) -> Recipe:
        for name in self.targets:
            if name in STAGES:  # a step's folder in the run is STAGE or TARGET/STAGE
                what = f"a target cannot be called '{name}', which is the name of a stage"
                raise Problems([Problem(("targets", name), what, name, "choose another name, such as cpu", on="key")])
        teacher_learns = isinstance(self.distill, TEACHER_LEARNS) and self.distill.feedback_every > 0
        if teacher_learns and self.teacher.is_onnx:
            what = f"distill.method: {self.distill.method} trains the teacher, which an ONNX file does not allow"
            raise Problems(
                [Problem(("distill", "method"), what, self.distill.method, "another method, or a teacher with a model")]
            )
        if self.teacher.is_onnx and getattr(self.distill, "taps", "auto") not in ("auto", ()):
            what = "distill.taps name modules of the teacher, and an ONNX file has none"
            raise Problems([Problem(("distill", "taps"), what, None, "taps: [], or a teacher with a model")])
        if getattr(self.distill, "students", 1) > 1 and self._students_start_equal():
            what = "distill.students: several students that start from the same weights learn much the same"
            fix = "students: 1, or student.weights: none, from which each starts with weights of its own"
            raise Problems([Problem(("distill", "students"), what, f"student.weights: {self.student.weights}", fix)])
        if not teacher_learns and any(gate.metric.startswith("improved_teacher.") for gate in self.gates_of("distill")):
            why = "feedback_every: 0" if isinstance(self.distill, TEACHER_LEARNS) else f"method: {self.distill.method}"
            what = f"only a teacher that learns can be bounded, and distill.{why} does not change it"
            fix = "remove the bound, or use distill.method: ffkd with feedback_every: 1"
            raise Problems([Problem(("gates", "distill", "improved_teacher"), what, None, fix, on="key")])
        if isinstance(self.distill, Nothing) and self.student.weights == "none":
            what = "distill.method: none skips the training, but student.weights gives no trained student"
            raise Problems([Problem(("distill", "method"), what, "none", "student.weights: PATH, or a method that trains")])
        require_ladder_makes_sense(self)
        return self

    def _students_start_equal(self) -> bool:
        """imagenet's head is drawn for each student, unless it has the data's classes: little of a difference, but one."""
        weights = self.student.weights
        return weights not in _WEIGHTS_WORDS or (weights == "imagenet" and self.data.source == "imagenet")

    @property
    def folder(self) -> Path:
        """Where relative paths of the recipe start: the folder of its file, else the current one. Not part of ``as_json``."""
        return self._source.folder if self._source else Path()

    def resolve(self, path: str) -> Path:
        """A path of the recipe as a path of this machine: ``~`` is the home, relative ones start at the recipe's folder."""
        return self.folder / Path(path).expanduser()

    @property
    def teacher_seed(self) -> int:
        """What the teacher's training draws from: the teacher's own seed, or the recipe's."""
        return self.seed if self.teacher.seed is None else self.teacher.seed

    def weights_file(self, role: Literal["teacher", "student"]) -> Path | None:
        """The weights file of a network on this machine; None where a word stands for the weights (train, none, imagenet)."""
        weights = (self.teacher if role == "teacher" else self.student).weights
        return None if weights in _WEIGHTS_WORDS else self.resolve(weights)

    def gate_list(self) -> tuple[Gate, ...]:
        """The gates in the order of the file."""
        return read_gates(self.gates, list(self.targets))

    def gates_of(self, stage: str, target: str | None = None) -> tuple[Gate, ...]:
        """The gates on one step."""
        return tuple(gate for gate in self.gate_list() if (gate.stage, gate.target) == (stage, target))

    def _latency_gates(self, target: str | None) -> tuple[Gate, ...]:
        """What a query of this target may take: preflight's own bounds on a percentile, else benchmark's, whose confidence is
        asked there."""
        own = self.gates_of("preflight", target)
        replaced = {gate.metric for gate in own}
        later = [gate for gate in self.gates_of("benchmark", target) if gate.metric not in replaced]
        gates = [*own, *(replace(gate, confidence=None) for gate in later)]
        return tuple(one for one in gates if one.metric.startswith("latency_ms.") and one.bound == "max")

    def latency_bounds(self, target: str | None) -> tuple[Gate, ...]:
        """What no percentile of this target's queries may exceed, whichever stage asks. A waived one stops nothing."""
        return tuple(gate for gate in self._latency_gates(target) if gate.waive is None)

    def tightest_latency(self, target: str | None) -> Gate | None:
        """The least of ``latency_bounds``."""
        return min(self.latency_bounds(target), key=lambda gate: gate.limit, default=None)

    def gates_timed_for(self, stage: str, target: str | None) -> tuple[Gate, ...]:
        """The gates that a step must time enough queries for. Preflight is asked the benchmark's latencies too."""
        return (*self.gates_of(stage, target), *(self._latency_gates(target) if stage == "preflight" else ()))

    def as_json(self) -> dict[str, Any]:
        """JSON types only, defaults filled in: the same for the same recipe whatever its comments, order, folder or omissions.

        Paths stand as written, not resolved: a recipe moved together with its data says the same. Without the hosts of targets:
        what is shared tells nobody's addresses.
        """
        return self.model_dump(mode="json", exclude={"targets": {"__all__": {"host"}}})

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Recipe:
        """The recipe that ``as_json`` wrote; a ``folder`` beside its keys says where relative paths start.

        Raises RecipeError: this is no such document.
        """
        keys = {key: value for key, value in document.items() if key != "folder"}
        try:
            recipe = cls.model_validate(keys)
        except ValidationError as error:
            raise RecipeError("this document is no recipe of this version", seen=str(error).split("\n")[0]) from error
        recipe._source = Source("recipe", "", Path(str(document.get("folder", ""))), {})
        return recipe

"""The JSON document of a run (schema 1): its shape, its JSON Schema, and reading it back. Fields are added, never changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edgekd.core import InputError, Verdict

FILE_NAME = "report.json"
MOST_BYTES = 64 * 1024 * 1024  # a document is some 100 kB; what is far larger was not written by edgekd


class _Part(BaseModel):
    """Readers ignore fields they do not know, so that a later edgekd may add some."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)


class ErrorPart(_Part):
    code: str = Field(description="kind of error: input, recipe, environment, device, device-memory, integrity, locked,"
                      " interrupted, bug")  # fmt: skip
    what: str
    where: str | None = None
    seen: str | None = Field(None, description="the value met")
    fix: str | None = Field(None, description="what to try")


class TargetPart(_Part):
    name: str
    required: Literal["always", "when-connected"]
    verdict: Verdict | None = Field(description="worst of its gates; null when the run ended before it was judged")
    why: str | None = None


class ArtifactPart(_Part):
    kind: str
    path: str = Field(description="relative to the run folder")
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class MeasurementPart(_Part):
    name: str = Field(description="dotted; the unit is in the name where it has one: latency_ms.p90")
    value: float | None = Field(description="null when not measured or not finite")
    unit: str
    n: int = Field(ge=0, description="images or queries behind the value; 0 is not measured")
    low: float | None = Field(description="of the interval: two-sided 95 %, or the least of the rounds")
    high: float | None
    counts: list[int] = Field([], description="(hits) of n for a share, (lost, won) of n for a paired drop")
    rounds: list[float] = Field([], description="one value a round, for timing measurements")
    suspect: list[str] = Field([], description="why the conditions make the value inconclusive")
    n_needed: int | None = Field(None, description="set when n is below what this number needs")
    conditions: dict[str, Any] = {}
    right: str = Field("", description="for a share, one bit each: which of the n were hits, first one first, padded, base64")


class GatePart(_Part):
    metric: str
    target: str | None = None
    bound: Literal["min", "max"]
    limit: float
    value: float | None
    low: float | None
    high: float | None
    confidence: float | None = Field(None, description="one-sided; null judges the value itself")
    inherited: str | None = Field(None, description="the recipe's key of this bound, where another step is asked before it")
    n_needed: int | None = Field(None, description="images or queries that would settle an INCONCLUSIVE gate")
    verdict: Verdict
    why: str


class StagePart(_Part):
    """One step: a stage, for one target or for none."""

    name: str
    target: str | None = None
    status: Literal["done", "cached", "failed", "skipped"]
    key: str | None = Field(description="what the step was made from, as a hash; null when it did not get that far")
    source: str | None = Field(None, description="digest of the code of edgekd behind it")
    seconds: float | None = Field(description="wall time when it ran; of a cached step, when it once ran")
    age_s: float | None = Field(None, description="of a cached step")
    why: str | None = Field(None, description="of a failed or skipped step, or of one that only prepared files")
    notes: dict[str, Any] = {}
    artifacts: list[ArtifactPart]
    measurements: list[MeasurementPart]
    gates: list[GatePart]

    def measurement(self, name: str) -> MeasurementPart | None:
        return next((one for one in self.measurements if one.name == name), None)

    def artifact(self, kind: str) -> ArtifactPart | None:
        return next((one for one in self.artifacts if one.kind == kind), None)


class RungPart(_Part):
    """One width and image size of the ladder."""

    width: float
    image_size: tuple[int, int] = Field(description="height and width in pixels")
    fits: Literal["yes", "no", "undecided", "not asked"]
    why: str = Field("", description="what speaks against it")
    parameters: int | None = None
    macs: int | None = Field(None, description="multiply-accumulates of one image")
    bounds: list[GatePart] = Field([], description="every bound less the margin, on every target asked; inherited: of which gate")
    no_room: dict[str, str] = Field({}, description="targets that lacked the memory to build or run it, and why")
    cached: bool = False


class ChosenPart(_Part):
    width: float
    image_size: tuple[int, int]


class WouldPart(_Part):
    """A bound that the smallest rung misses, where none fits."""

    target: str
    metric: str
    bound: str = Field(description="the recipe's key")
    value: float
    limit: float = Field(description="the bound less the margin")
    times: float | None = Field(description="so many times as fast or as small it would have to be")
    would_hold: float = Field(description="the bound of the recipe that it would hold, margin included")
    at_least: bool = Field(False, description="only the fastest query is known: would_hold is not enough")


class FitPart(_Part):
    """The ladder of ``student.width: auto`` and what was chosen of it."""

    verdict: Verdict = Field(description="PASS: chosen fits; FAIL: no rung fits; INCONCLUSIVE: not decided, or not asked")
    why: str
    chosen: ChosenPart | None = Field(description="what the run went on with")
    margin: float = Field(description="how far below its bound a number must lie, as a share of it")
    rungs: list[RungPart] = Field(description="most work (width² · pixels) first")
    would: list[WouldPart] = []
    not_asked: dict[str, str] = Field({}, description="targets with bounds that could not be measured, and why")


class DataPart(_Part):
    source: str
    classes: list[str]
    counts: dict[str, int] = Field(description="images in train, held_out and test")
    digest: str | None = None
    notes: list[str] = Field([], description="what to know about the images, such as the same one in train and test")


class Document(_Part):
    """What one run did, measured and concluded."""

    schema_: Literal[1] = Field(alias="schema")
    verdict: Verdict | None = Field(description="null when the run could not be judged")
    exit_code: int
    error: ErrorPart | None = None
    run: str | None = Field(description="the run folder; null when the command failed before there was one")
    recipe: dict[str, Any] | None = Field(description="the recipe as it was understood; null when it was not")
    resume: str = Field(description="the command that goes on from here")
    unmeasured: list[str] = Field(description="targets nothing was measured on")
    targets: list[TargetPart]
    fit: FitPart | None = Field(None, description="of a recipe with student.width: auto")
    stages: list[StagePart]
    bundle: str | None = Field(None, description="the bundle folder")
    report: str | None = Field(None, description="the HTML page")
    until: str | None = Field(None, description="the stage the user asked to stop after")
    smoke: bool = Field(False, description="tried on a handful of images: nothing in it was judged, and no number means anything")
    keep_going: bool = Field(False, description="the user asked to go on after a failed gate")
    environment: dict[str, Any] = Field({}, description="system, CPUs it could use and versions of the machine that ran it")
    started: str | None = Field(None, description="ISO 8601")
    seconds: float | None = Field(None, description="wall time of this invocation")
    test_opened: int | None = Field(
        None, description="how often runs that share this store have opened the test split of these images"
    )
    data: DataPart | None = None

    @property
    def name(self) -> str:
        """The recipe's name, else the run folder's, else what the document is."""
        return str((self.recipe or {}).get("name") or Path(self.run or "edgekd run").name)

    def steps(self, name: str) -> list[StagePart]:
        return [step for step in self.stages if step.name == name]


def document_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of the document."""
    schema = Document.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "edgekd report, schema 1"}


def parse(document: Document | Mapping[str, Any], where: str = FILE_NAME) -> Document:
    """Check a document. Raises InputError naming every field that is wrong."""
    if isinstance(document, Document):
        return document
    try:
        return Document.model_validate(document)
    except ValidationError as error:
        raise _not_a_document(error, where) from error


def read(run: Path) -> Document:
    """The document of a run folder. Raises InputError: no such folder, no document in it, or not one of schema 1."""
    path = run / FILE_NAME
    if not run.is_dir():
        raise InputError("there is no such run folder", where=str(run), fix="name the folder that edgekd pipeline made")
    if not path.is_file():
        raise InputError(
            f"this folder holds no run: {FILE_NAME} is missing", where=str(run), fix="edgekd pipeline RECIPE makes one"
        )
    if path.stat().st_size > MOST_BYTES:
        raise InputError("the document is too large to be one", where=str(path), seen=f"{path.stat().st_size} bytes")
    try:
        return Document.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise _not_a_document(error, str(path)) from error


def _not_a_document(error: ValidationError, where: str) -> InputError:
    wrong = [f"{'.'.join(map(str, one['loc'])) or 'document'}: {one['msg']}" for one in error.errors(include_url=False)]
    shown = "; ".join(wrong[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
    return InputError(
        "not an edgekd report of schema 1", where=where, seen=shown, fix="run the pipeline again to write a new one"
    )

"""Keys: what can change a step's result changes its key, and what only judges or names does not."""

import ast
import json
from dataclasses import replace
from pathlib import Path

import pytest

import edgekd
from edgekd.core import Artifact, Measurement, Outcome
from edgekd.pipeline import STAGES, Step, keys, steps
from edgekd.pipeline.keys import key_of, key_parts, source_digest
from edgekd.recipe import loads

RECIPE = """\
edgekd: 1
name: keys
data: {source: imagefolder, path: images, image_size: 8}
teacher: {model: resnet18, epochs: 1, weights: ./teacher.safetensors}
student: {model: mobilenet_v2, weights: ./student.safetensors}
distill: {method: label, epochs: 1}
targets:
  cpu: {device: local-cpu, runtime: onnxruntime}
gates:
  quantize: {top1_drop: {max: 0.02}}
  benchmark: {cpu: {latency_ms: {p90: {max: 5}}, top1: {min: 0.5}}}
"""
IDENTITY = {"machine": "m", "isa": ["avx2"], "versions": {"onnxruntime": "1.20"}}
ALL = tuple(step.name for step in steps(("cpu",)))
TRAINED = ("teacher", "distill", "quantize", "export")
TORCH = ("sketch", *TRAINED)
DATA = (*TORCH, "cpu/benchmark", "bundle")
ON_CPU = {"cpu/preflight", "cpu/build", "cpu/benchmark"}


@pytest.fixture
def folder(tmp_path):
    for name in ("teacher", "student"):
        (tmp_path / f"{name}.safetensors").write_bytes(name.encode())
    return tmp_path


@pytest.fixture
def keys_of(folder):
    """The keys of all steps of the recipe with ``overrides``; the inputs' files are the same unless given."""

    def of(*overrides, data="images", identity=IDENTITY, inputs=None, text=RECIPE, at=folder):
        recipe = loads(text, "keys.yaml", at, overrides)
        given = inputs or {"need": Outcome((Artifact("model", "model.onnx", "0" * 64, 1),))}
        found = {}
        for step in steps(tuple(recipe.targets)):
            device = identity if step.target else None
            found[step.name] = key_of(key_parts(step, recipe, given, data=data, device=device))
        return found

    return of


def changed(before, after):
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    "override",
    [
        "gates.quantize.top1_drop.max=0.5",
        "gates.benchmark.cpu.latency_ms.p90.max=9",
        "gates.benchmark.cpu.latency_ms.p90.waive=agreed",
        "gates.benchmark.cpu.latency_ms.p50={max: 3}",
        "gates.benchmark.cpu.top1={min: 0.9, confidence: 0.99}",
        "gates.teacher={top1: {min: 0.9}}",
        "gates.preflight.cpu.size_mb={max: 9}",
        "gates={}",
        "targets.cpu.required=when-connected",
        "targets.cpu.host=orin",
        "targets.cpu.python=~/venv/bin/python",
        "data.path=./elsewhere",
    ],
)
def test_what_only_judges_or_says_where_files_lie_changes_no_key(keys_of, override):
    assert changed(keys_of(), keys_of(override)) == set()


@pytest.mark.parametrize(
    ("override", "steps_changed"),
    [
        ("seed=1", {"sketch", "teacher", "distill", "quantize"}),
        ("compute.threads=2", set(TRAINED)),
        ("compute.precision=fp32", set(TRAINED)),
        ("data.image_size=16", set(DATA)),
        ("data.split_seed=1", set(DATA)),
        ("data.hflip=true", set(DATA)),
        ("teacher.epochs=2", {"teacher"}),
        ("teacher.learning_rate=0.5", {"teacher"}),
        ("student.width=0.5", {"sketch", "distill"}),
        ("distill.epochs=2", {"distill"}),
        ("distill.learning_rate=0.5", {"distill"}),
        ("quantize={epochs: 9, distill: both, batch_size: 8, learning_rate: 0.1}", set()),  # nothing is fine-tuned
        ("quantize.calibration_images=7", {"quantize", "export"}),  # whose yardstick calibrates on them too
        ("quantize.mode=auto", {"quantize"}),
        ("targets.cpu.threads=2", {*ON_CPU, "bundle"}),
        ("targets.cpu.precision=fp32", {*ON_CPU, "bundle"}),
        ("name=other", {"bundle"}),
        (
            "gates.benchmark.cpu.latency_ms.p99={max: 9}",
            {"cpu/preflight", "cpu/benchmark"},
        ),  # needs more queries, before as after
        ("gates.benchmark.cpu.speedup={min: 1, confidence: 0.999}", {"cpu/benchmark"}),  # needs more rounds
        ("gates.preflight.cpu.latency_ms.p99={max: 9}", {"cpu/preflight"}),
    ],
)
def test_what_a_step_reads_changes_its_key_and_no_other(keys_of, override, steps_changed):
    assert changed(keys_of(), keys_of(override)) == steps_changed


UNTRAINED = "distill={method: none}"
RATE = "quantize.learning_rate=0.1"


@pytest.mark.parametrize(
    ("so_far", "override", "steps_changed"),
    [
        ((), "distill.learning_rate=0.5", {"distill", "quantize"}),  # of which fine-tuning takes a share
        ((), "distill.momentum=0.5", {"distill", "quantize"}),
        ((), "distill.weight_decay=0.5", {"distill", "quantize"}),
        ((), "distill.epochs=2", {"distill"}),
        ((), "teacher.learning_rate=0.5", {"teacher"}),
        ((RATE,), "distill.learning_rate=0.5", {"distill"}),
        ((RATE,), "distill.momentum=0.5", {"distill", "quantize"}),
        ((UNTRAINED,), "teacher.learning_rate=0.5", {"teacher", "quantize"}),
        ((UNTRAINED,), "teacher.momentum=0.5", {"teacher", "quantize"}),
        ((UNTRAINED,), "teacher.epochs=2", {"teacher"}),
        ((UNTRAINED, RATE), "teacher.learning_rate=0.5", {"teacher"}),
        ((), "quantize.epochs=9", {"quantize"}),
        ((), "quantize.distill=both", {"quantize"}),
        ((), RATE, {"quantize"}),
    ],
)
@pytest.mark.parametrize("mode", ["qat", "auto"])
def test_what_fine_tuning_reads_changes_quantize(keys_of, mode, so_far, override, steps_changed):
    before = (f"quantize.mode={mode}", *so_far)
    assert changed(keys_of(*before), keys_of(*before, override)) == steps_changed


@pytest.mark.parametrize(
    ("mode", "source", "counts"),
    [("ptq", "both", False), ("qat", "self", False), ("qat", "none", False), ("qat", "teacher", True), ("auto", "both", True)],
)
def test_another_teacher_counts_in_quantize_only_where_it_is_learnt_from(keys_of, mode, source, counts):
    def of(digit):
        files = {"teacher": Artifact("teacher", "teacher", digit * 64, 1), "distill": Artifact("student", "student", "0" * 64, 1)}
        needed = {name: Outcome((file,)) for name, file in files.items()}
        return keys_of(f"quantize.mode={mode}", f"quantize.distill={source}", inputs=needed)

    assert ("quantize" in changed(of("0"), of("1"))) is counts


def test_a_bound_that_auto_decides_by_is_part_of_quantize(keys_of):
    auto = keys_of("quantize.mode=auto")
    assert changed(auto, keys_of("quantize.mode=auto", "gates.quantize.top1_drop.max=0.5")) == {"quantize"}


JETSON = "targets.jetson={device: jetson-orin-nano-8gb, runtime: tensorrt, precision: PRECISION}"


@pytest.mark.parametrize(
    ("precision", "steps_changed"),
    [("fp32", set()), ("fp16", set()), ("int8+fp16", {"quantize"})],
)
def test_another_target_changes_the_steps_that_make_files_for_it(keys_of, precision, steps_changed):
    """The float file has the opset of the oldest TensorRT, also in the sketch."""
    steps_changed = {"sketch", "export", "bundle", *steps_changed}
    assert changed(keys_of(), keys_of(JETSON.replace("PRECISION", precision))) == steps_changed


def test_a_second_device_that_needs_the_same_files_changes_only_the_bundle(keys_of):
    first = JETSON.replace("PRECISION", "int8+fp16")
    second = first.replace("targets.jetson", "targets.other").replace("8gb", "4gb")
    assert changed(keys_of(first), keys_of(first, second)) == {"bundle"}


def test_whether_the_same_files_fit_float16_is_asked_when_a_target_computes_in_it(keys_of):
    nano = "targets.nano={device: jetson-nano, runtime: tensorrt, precision: PRECISION}"
    float32, float16 = (keys_of(nano.replace("PRECISION", one)) for one in ("fp32", "fp16"))
    assert "export" in changed(float32, float16)


def test_an_older_tensorrt_exports_anew_and_quantizes_nothing(keys_of):
    orin = JETSON.replace("PRECISION", "int8+fp16")
    older = keys_of(orin, 'targets.jetson.tensorrt="8.2"')
    on_it = {"jetson/preflight", "jetson/build", "jetson/benchmark"}
    assert changed(keys_of(orin), older) == {"sketch", "export", "bundle", *on_it}


def test_a_cpu_that_sums_otherwise_measures_the_yardstick_of_the_export_anew(keys_of, monkeypatch):
    monkeypatch.setattr(keys.export, "exact_sums", lambda: True, raising=False)
    exact = keys_of()
    monkeypatch.setattr(keys.export, "exact_sums", lambda: False, raising=False)
    assert changed(exact, keys_of()) == {"export"}


def test_the_bytes_of_a_weights_file_count_and_its_name_does_not(keys_of, folder):
    before = keys_of()
    (folder / "other.safetensors").write_bytes(b"teacher")
    assert changed(before, keys_of("teacher.weights=./other.safetensors")) == set()
    (folder / "teacher.safetensors").write_bytes(b"another")
    assert changed(before, keys_of()) == {"teacher"}
    (folder / "student.safetensors").write_bytes(b"another")
    assert changed(before, keys_of()) == {"teacher", "distill"}


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_imagenet_weights_normalize_the_images_of_every_step_anew(keys_of, role):
    assert set(DATA) <= changed(keys_of(), keys_of(f"{role}.weights=imagenet"))  # a student not trained here stays the same file


def test_the_images_and_the_device_change_the_steps_that_use_them(keys_of):
    assert changed(keys_of(), keys_of(data="others")) == set(DATA)
    for name, value in {"machine": "n", "isa": [], "versions": {"onnxruntime": "1.21"}}.items():
        assert changed(keys_of(), keys_of(identity={**IDENTITY, name: value})) == ON_CPU


@pytest.mark.parametrize(
    ("change", "anew"),
    [({"suspect": {"drift": 0.1}}, ON_CPU), ({"power_rails": ["VDD_IN"]}, ON_CPU), ({"aliases": ["shelf-2"]}, set())],
    ids=["thresholds", "rails", "another alias"],
)
def test_what_is_in_a_profile_of_ones_own_counts_and_what_else_it_is_called_does_not(
    keys_of, tmp_path, monkeypatch, change, anew
):
    own = {"name": "shelf", "runtimes": ["onnxruntime"], "precisions": ["int8", "fp32"], "int8_native": True}
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path / "own"))
    file = tmp_path / "own/shelf.json"
    file.parent.mkdir()
    file.write_text(json.dumps(own))
    before = keys_of("targets.cpu.device=shelf")
    file.write_text(json.dumps({**own, **change}))
    assert changed(before, keys_of("targets.cpu.device=shelf")) == anew


def test_other_bytes_of_a_needed_file_change_every_key_and_other_measurements_only_the_bundle(keys_of):
    artifact = Artifact("model", "model.onnx", "0" * 64, 1)
    measured = Outcome((artifact,), (Measurement("top1", 0.5, "fraction", 9),))
    assert changed(keys_of(), keys_of(inputs={"need": measured})) == {"bundle"}
    assert changed(keys_of(), keys_of(inputs={"need": Outcome((replace(artifact, sha256="1" * 64),))})) == set(ALL)


JETSON_ALONE = "{jetson: {device: jetson-orin-nano-8gb, runtime: tensorrt, precision: fp16}}"


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        ({}, False),
        ({"engine-fp16": "1"}, True), ({"engine-fp32": "1"}, False), ({"log-fp16": "1"}, False), ({"build_s": 2.0}, False),
        ({"compute_capability": "8.9"}, True), ({"tensorrt": "10.3.0.31"}, True), ({"governor": "powersave"}, False),
    ],
)  # fmt: skip
def test_of_a_build_only_the_engine_it_takes_and_who_built_it_make_a_new_bundle(keys_of, change, anew):
    def built(changed):
        told = {"tensorrt": "10.3.0.30", "compute_capability": "8.7", "module": "p3767-0003", "governor": None}
        identity = {name: changed.get(name, value) for name, value in told.items()}
        files = [Artifact(kind, kind, changed.get(kind, "0") * 64, 1) for kind in ("engine-fp16", "engine-fp32", "log-fp16")]
        took = Measurement("build_s", changed.get("build_s", 1.0), "s", 1)
        made = Outcome(tuple(files), (took,), {"identity": identity})
        return keys_of(f"targets={JETSON_ALONE}", "gates={}", inputs={"jetson/build": made})["bundle"]

    assert (built({}) != built(change)) == anew


def test_what_was_only_prepared_for_a_device_is_no_engine_in_the_bundles_key(keys_of):
    def prepared(sha256):
        made = Outcome((Artifact("fp16", "student.fp16.onnx", sha256, 1),), (), {"prepared": "nothing was built"})
        return keys_of(f"targets={JETSON_ALONE}", "gates={}", inputs={"jetson/build": made})["bundle"]

    assert prepared("0" * 64) == prepared("1" * 64)


def test_the_seconds_in_a_trainings_curves_change_no_key(keys_of):
    model, curves = Artifact("model", "model.onnx", "0" * 64, 1), Artifact("curves", "curves.json", "0" * 64, 1)
    assert not changed(keys_of(), keys_of(inputs={"need": Outcome((model, curves))}))


def test_a_library_another_version_of_the_stage_and_other_code_change_every_key(keys_of, monkeypatch):
    before = keys_of()
    for name, value in (("library_versions", lambda: {"torch": "0"}), ("source_digest", lambda stage: "other")):
        with monkeypatch.context() as patched:
            patched.setattr(keys, name, value)
            assert changed(before, keys_of()) == set(ALL)
    recipe, step = loads(RECIPE, "keys.yaml", Path()), Step(STAGES["build"], "cpu")
    newer = Step(replace(step.stage, version=step.stage.version + 1), "cpu")
    old, new = (key_parts(one, recipe, {}, data=None, device={}) for one in (step, newer))
    assert key_of(old) != key_of(new)


def test_a_moved_recipe_has_the_same_keys(keys_of, tmp_path):
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("teacher", "student"):
        (moved / f"{name}.safetensors").write_bytes(name.encode())
    assert changed(keys_of(), keys_of(at=moved)) == set()


def test_the_same_recipe_written_otherwise_has_the_same_keys(keys_of):
    longer = RECIPE.replace("{model: mobilenet_v2, ", "{width: 1.0, model: mobilenet_v2, ").replace(
        "edgekd: 1", "edgekd: 1  # x\nseed: 0"
    )
    assert changed(keys_of(), keys_of(text=longer)) == set()


# --- the source


PACKAGE = Path(edgekd.__file__).parent


def rooms_reached(entry):
    """Rooms that a stage's module imports, directly or through others."""
    seen, todo = set(), [entry.partition(":")[0]]
    while todo:
        name = todo.pop()
        path = PACKAGE.parent / Path(*name.split("."))
        file = path / "__init__.py" if (path / "__init__.py").exists() else path.with_suffix(".py")
        if not name.startswith("edgekd.") or not file.exists() or file in seen:
            continue
        seen.add(file)
        package = ".".join(file.parent.relative_to(PACKAGE.parent).parts)
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                todo += [one.name for one in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = ".".join(filter(None, (package if node.level else "", node.module)))
                todo += [base, *(f"{base}.{one.name}" for one in node.names)]
    return {file.relative_to(PACKAGE).parts[0] for file in seen if file.parent != PACKAGE}


@pytest.mark.parametrize("stage", STAGES.values(), ids=lambda stage: stage.name)
def test_the_source_of_every_room_a_stage_reaches_is_in_its_key(stage):
    assert rooms_reached(stage.entry) - {"core", "recipe", "stages"} == set(stage.rooms)


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A stand-in for the package: a few files; returns a function that changes one and tells whose source changed."""
    for name in ("__init__.py", "core/a.py", "stages/images.py", "stages/build.py", "stages/teacher.py", "targets/profiles.json",
                 "targets/__pycache__/a.pyc", "bundle/card.md.jinja", "models/a.py", "report/a.py"):  # fmt: skip
        path = tmp_path / "edgekd" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("before")
    monkeypatch.setattr(keys.edgekd, "__file__", str(tmp_path / "edgekd/__init__.py"))

    def digests():
        source_digest.cache_clear()
        return {stage.name: source_digest(stage) for stage in STAGES.values()}

    def change(name):
        before = digests()
        (tmp_path / "edgekd" / name).write_text("after")
        return changed(before, digests())

    yield change
    source_digest.cache_clear()


@pytest.mark.parametrize(
    ("file", "stages"),
    [
        ("core/a.py", set(STAGES)),
        ("stages/images.py", set(STAGES)),  # what stages share
        ("stages/build.py", {"build"}),
        ("stages/teacher.py", {"teacher"}),
        ("models/a.py", set(TORCH)),
        ("targets/profiles.json", {"sketch", "preflight", "quantize", "export", "build", "benchmark", "bundle"}),
        ("bundle/card.md.jinja", {"bundle"}),
        ("targets/__pycache__/a.pyc", set()),
        ("report/a.py", set()),
    ],
)
def test_a_changed_file_changes_the_stages_that_use_it(copied, file, stages):
    assert copied(file) == stages

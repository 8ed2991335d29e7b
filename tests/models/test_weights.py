from __future__ import annotations

import subprocess
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torchvision
from torch import nn

from edgekd import models
from edgekd.core import EdgekdError, EnvironmentProblem, InputError, IntegrityError

NAME = "shufflenet_v2_x0_5"  # small, with batch normalization


def model(seed: int = 0, classes: int = 5, **given: Any) -> nn.Module:
    torch.manual_seed(seed)
    made = models.create(given.pop("name", NAME), classes=classes, image_size=32, **given)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return made


def equal(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def refusal(kind: type[EdgekdError], *arguments: Any, **named: Any) -> EdgekdError:
    with pytest.raises(kind) as error:
        models.load(*arguments, **named)
    assert error.value.fix and error.value.where
    return error.value


@pytest.fixture
def stored(tmp_path: Path) -> Callable[..., Path]:
    def store(content: Any, name: str = "weights.pt", **options: Any) -> Path:
        torch.save(content, tmp_path / name, **options)
        return tmp_path / name

    return store


def test_a_saved_model_comes_back_the_same_and_says_what_it_is(tmp_path: Path) -> None:
    saved = model(width=0.5, name="mobilenet_v3_small")
    models.save(saved, tmp_path / "a.safetensors", meta={"note": "x"})
    loaded = models.load_saved(tmp_path / "a.safetensors")
    assert equal(saved, loaded) and not loaded.training
    assert models.spec_of(loaded) == models.spec_of(saved)
    with safetensors.safe_open(tmp_path / "a.safetensors", "pt") as file:
        meta = file.metadata()
    assert (meta["edgekd.model"], meta["edgekd.width"], meta["edgekd.classes"]) == ("mobilenet_v3_small", "0.5", "5")
    assert (meta["edgekd.image_size"], meta["note"]) == ("[32, 32]", "x")


def test_a_folded_model_comes_back_folded(tmp_path: Path) -> None:
    folded = models.fold_for_inference(model())
    models.save(folded, tmp_path / "a.safetensors")
    loaded = models.load_saved(tmp_path / "a.safetensors")
    assert equal(folded, loaded) and not any(isinstance(module, nn.BatchNorm2d) for module in loaded.modules())


_SAVE = """
import sys, pathlib, torch
from edgekd import models
torch.manual_seed(0)
model = models.create("squeezenet1_1", classes=3, image_size=32)
models.save(model, pathlib.Path(sys.argv[1]), meta={str(i): "" for i in range(9)})
"""


def test_equal_models_are_equal_bytes_in_every_process(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", _SAVE, str(tmp_path / "theirs")], check=True, timeout=120)
    torch.manual_seed(0)
    ours = models.create("squeezenet1_1", classes=3, image_size=32)
    models.save(ours, tmp_path / "ours", meta={str(i): "" for i in range(9)})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_channels_last_weights_are_the_same_file_and_stay_channels_last(tmp_path: Path) -> None:
    plain, last = model(), model().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    for name, one in (("a", plain), ("b", last)):
        models.save(one, tmp_path / f"{name}.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    before = [parameter.stride() for parameter in last.parameters()]
    models.load(last, tmp_path / "a.safetensors")
    assert [parameter.stride() for parameter in last.parameters()] == before


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state, "epoch": 3},
        lambda state: {"model": state},
        lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
        lambda state: {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}},
        lambda state: {"state_dict": {f"model.{name}": tensor for name, tensor in state.items()}},
    ],
)
def test_weights_are_found_below_the_usual_wrappings(stored: Callable[..., Path], wrap: Callable[[Any], Any]) -> None:
    given, target = model(1), model(2)
    assert models.load(target, stored(wrap(given.state_dict()))) == ()
    assert equal(given, target)


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_both_of_torchs_file_formats_are_read(stored: Callable[..., Path], options: dict[str, bool]) -> None:
    target = model(2)
    models.load(target, stored(model(1).state_dict(), "weights.pth", **options))
    assert equal(model(1), target)


def test_plain_safetensors_of_another_tool_are_read(tmp_path: Path) -> None:
    safetensors.torch.save_file(model(1).state_dict(), tmp_path / "plain.safetensors")
    target = model(2)
    models.load(target, tmp_path / "plain.safetensors")
    assert equal(model(1), target)
    with pytest.raises(InputError, match="does not say what model"):
        models.load_saved(tmp_path / "plain.safetensors")


def test_half_precision_weights_become_the_models_own(stored: Callable[..., Path]) -> None:
    target = model(2)
    models.load(
        target,
        stored({name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in model(1).state_dict().items()}),
    )
    assert all(parameter.dtype == torch.float32 for parameter in target.parameters())


class Unsafe:
    def __reduce__(self) -> Any:
        return print, ("this code must never run",)


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_a_file_that_could_run_code_is_refused_and_runs_none(
    stored: Callable[..., Path], capsys: pytest.CaptureFixture[str], options: Any
) -> None:
    error = refusal(IntegrityError, model(), stored({"state_dict": {}, "hook": Unsafe()}, **options))
    assert error.exit_code == 7 and capsys.readouterr().out == ""


def test_a_whole_pickled_model_is_refused(stored: Callable[..., Path]) -> None:
    assert "could run code" in refusal(IntegrityError, model(), stored(model())).what


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt", "a.pth"])
@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 broken zip", b"\xff" * 200])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert refusal(EdgekdError, model(), tmp_path / name).exit_code in (2, 7)


@pytest.mark.parametrize("name", ["a.safetensors", "a.pt"])
def test_a_truncated_file_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    state = model().state_dict()
    _ = safetensors.torch.save_file(state, path) if name.endswith("safetensors") else torch.save(state, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "damaged" in refusal(InputError, model(), path).what


@pytest.mark.parametrize(("content", "what"), [(torch.zeros(3), "no named tensors"), ({"epoch": 3}, "do not fit")])
def test_a_file_without_weights_is_refused(stored: Callable[..., Path], content: Any, what: str) -> None:
    assert what in refusal(InputError, model(), stored(content)).what


@pytest.mark.parametrize("name", ["missing.pt", "weights.onnx"])
def test_no_file_or_an_unknown_kind_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "weights.onnx").write_bytes(b"")
    assert ".safetensors" in str(refusal(InputError, model(), tmp_path / name).fix)


def test_what_does_not_fit_is_counted_and_five_are_named(stored: Callable[..., Path]) -> None:
    state = model().state_dict()
    renamed = {name.replace("stage2", "block2"): tensor for name, tensor in state.items()}
    error = refusal(InputError, model(), stored(renamed))
    count = 2 * sum("stage2" in name for name in state) - sum("stage2" in name and "num_batches" in name for name in state)
    assert error.what == f"the weights do not fit the model: {count} tensors"
    assert str(error.seen).count("missing stage2") == 5 and str(error.seen).endswith(f"and {count - 5} more")


def test_weights_of_another_width_do_not_fit(stored: Callable[..., Path]) -> None:
    error = refusal(InputError, model(), stored(model(name="shufflenet_v2_x1_0").state_dict()), replace_head=True)
    assert "do not fit" in error.what and "here [" in str(error.seen)


def test_a_head_for_other_classes_is_refused_unless_it_is_to_be_replaced(stored: Callable[..., Path]) -> None:
    given, target = model(1, classes=9), model(2)
    before = target.fc.weight.clone()
    path = stored(given.state_dict())
    assert "another number of classes" in refusal(InputError, target, path).what
    assert sorted(models.load(target, path, replace_head=True)) == ["fc.bias", "fc.weight"]
    assert torch.equal(target.fc.weight, before) and torch.equal(target.conv1[0].weight, given.conv1[0].weight)


def test_a_refused_file_changes_nothing(stored: Callable[..., Path]) -> None:
    state = model(1).state_dict()
    state.pop("fc.bias")
    target = model(2)
    refusal(InputError, target, stored(state))
    assert equal(target, model(2))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused(stored: Callable[..., Path], value: float) -> None:
    state = model(1).state_dict()
    state["conv1.0.weight"][0, 0, 0, 0] = value
    error = refusal(InputError, model(), stored(state))
    assert "not all finite" in error.what and error.seen == "conv1.0.weight"


def test_without_a_network_imagenet_weights_are_a_problem_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any, **__: Any) -> Any:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torchvision.models.shufflenetv2, "_log_api_usage_once", lambda *_: None)
    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "/nonexistent")
    monkeypatch.setattr(torch.hub.os, "makedirs", lambda *_, **__: None)
    error = refusal(EnvironmentProblem, model(), "imagenet", replace_head=True)
    assert error.exit_code == 5 and "shufflenetv2_x0.5" in str(error.fix)


def test_imagenet_weights_bring_everything_but_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = torchvision.models.shufflenet_v2_x0_5(), model(2)
    monkeypatch.setattr(torchvision.models, "get_model", lambda *_, **__: source)
    assert len(models.load(target, "imagenet", replace_head=True)) == 2
    assert torch.equal(target.conv5[0].weight, source.conv5[0].weight)


def test_a_damaged_download_is_a_problem_of_integrity(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_: Any, **__: Any) -> Any:
        raise RuntimeError('invalid hash value (expected "5c106cde", got "00")')

    target = model()
    monkeypatch.setattr(torchvision.models, "get_model", damaged)
    assert refusal(IntegrityError, target, "imagenet").exit_code == 7


def test_imagenet_weights_that_change_the_input_are_refused() -> None:
    assert "re-normalise" in refusal(InputError, model(name="googlenet"), "imagenet").what


@pytest.mark.filterwarnings("ignore:Validating sparse")  # of torch, which takes its time for them
@pytest.mark.parametrize("kind", ["sparse", "complex", "meta", "integers"])
def test_tensors_that_are_no_plain_real_numbers_are_refused(stored: Callable[..., Path], kind: str) -> None:
    state = model().state_dict()
    name = next(iter(state))
    made = {
        "sparse": state[name].to_sparse(),
        "complex": state[name].to(torch.complex64),
        "meta": state[name].to("meta"),
        "integers": state[name].to(torch.int8),
    }
    error = refusal(InputError, model(), stored({**state, name: made[kind]}))
    assert "do not fit" in error.what and name in str(error.seen)

"""The recipes of the papers' pairs: made by one command, valid as shipped, and with the settings that were released."""

import runpy
from pathlib import Path

import numpy as np
import pytest
import tiny_cifar
from click.testing import CliRunner
from PIL import Image

from edgekd import data
from edgekd.cli import main
from edgekd.recipe import load
from edgekd.stages.images import normalization_of

PAPERS = Path(__file__).parents[2] / "recipes" / "papers"
NAMES = sorted(path.stem for path in PAPERS.glob("*.yaml"))
SLD_RATES = {  # of the released configurations
    "resnet32x4_resnet8x4": 0.025, "resnet56_resnet20": 0.025, "resnet110_resnet32": 0.025, "vgg13_vgg8": 0.025,
    "wrn_40_2_wrn_16_2": 0.025, "wrn_40_2_wrn_40_1": 0.025, "resnet32x4_shufflenet_v1": 0.009,
    "resnet32x4_shufflenet_v2": 0.008, "resnet50_mobilenet_v2": 0.008, "vgg13_mobilenet_v2": 0.008,
    "wrn_40_2_shufflenet_v1": 0.010,
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the recipes' first lines say must be put in place; the weights are not opened by a check."""
    folder = tmp_path_factory.mktemp("place")
    tiny_cifar.write_binary(folder, "cifar100").rename(folder / "cifar-100-python")
    for synset in ("n01440764", "n01443537"):
        for part, count in (("train", 3), ("val", 1)):
            (folder / "imagenet" / part / synset).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(folder / "imagenet" / part / synset / f"{i}.png")
    for path in PAPERS.glob("*.yaml"):
        weights = folder / load(path).teacher.weights
        if weights.suffix == ".pth":
            weights.parent.mkdir(parents=True, exist_ok=True)
            weights.write_bytes(b"not opened")
    return folder


def test_the_files_are_what_the_command_makes() -> None:
    made = runpy.run_path(str(PAPERS / "make.py"))["recipes"]()
    assert made == {path.name: path.read_text(encoding="utf-8") for path in PAPERS.glob("*.yaml")}
    assert len(made) == 2 * (11 + 2)


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_beside_data_and_weights_passes_check(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    assert CliRunner().invoke(main, ["recipes", "cp", f"papers/{name}"]).exit_code == 0
    result = CliRunner().invoke(main, ["check", f"{name}.yaml"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines()[-1].startswith(f"{name}: valid; steps: ")


def test_the_list_shows_what_teaches_what() -> None:
    lines = CliRunner().invoke(main, ["recipes"]).stdout.splitlines()
    (line,) = (line for line in lines if line.startswith("papers/cifar100_vgg13_vgg8_sld "))
    assert line.endswith("SLD on CIFAR-100: cifar_vgg13 (74.64 %) teaches cifar_vgg8 (70.36 % alone)")


@pytest.mark.parametrize("pair", SLD_RATES)
def test_sld_on_cifar_has_the_released_settings(pair: str) -> None:
    distill = load(PAPERS / f"cifar100_{pair}_sld.yaml").distill
    assert distill.learning_rate == SLD_RATES[pair]
    assert (distill.epochs, distill.batch_size, distill.momentum, distill.weight_decay) == (240, 64, 0.9, 5e-4)
    assert [share * distill.epochs for share in distill.milestones] == [150, 180, 210]
    assert (distill.warmup, distill.gradient_norm) == (0, None)
    assert (distill.ce_weight, distill.kd_weight, distill.temperatures) == (0.1, 0.9, (1, 2, 3, 4, 5, 6))
    assert (distill.pseudo_teacher_after * distill.epochs, distill.detach_pseudo_teacher, distill.swap) == (150, False, True)


@pytest.mark.parametrize(("pair", "weights"), [("resnet34_resnet18", (0.5, 0.5)), ("resnet50_mobilenet_v1", (1.0, 0.5))])
def test_sld_on_imagenet_has_the_released_settings(pair: str, weights: tuple[float, float]) -> None:
    distill = load(PAPERS / f"imagenet_{pair}_sld.yaml").distill
    assert (distill.learning_rate, distill.epochs, distill.batch_size, distill.weight_decay) == (0.2, 100, 512, 1e-4)
    assert [share * distill.epochs for share in distill.milestones] == [30, 60, 90]
    assert (distill.ce_weight, distill.kd_weight) == weights
    assert (distill.warmup, distill.gradient_norm, distill.pseudo_teacher_after) == (0, None, 1)


@pytest.mark.parametrize("name", NAMES)
def test_a_published_teacher_sees_pictures_normalised_as_it_learned_them(name: str) -> None:
    recipe = load(PAPERS / f"{name}.yaml")
    cifar100 = ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761))
    assert normalization_of(recipe) == {"cifar100": cifar100, "imagenet": data.IMAGENET}[recipe.data.source]

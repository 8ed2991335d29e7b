from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from edgekd import models
from edgekd.core import InputError
from edgekd.distill.maps import tapped
from edgekd.distill.taps import Pairs, head_and_tail, pair_up, shapes

PICTURE = torch.zeros(1, 3, 32, 32)


def model(name: str) -> nn.Module:
    return models.create(name, classes=5, image_size=32)


def names(pairs: Pairs) -> list[tuple[str, str]]:
    return [(tap.teacher, tap.student) for tap in pairs.taps]


def test_the_stages_of_networks_are_found_and_paired_by_resolution() -> None:
    pairs = pair_up(model("resnet18"), model("mobilenet_v2"), PICTURE)
    assert names(pairs) == [("layer1", "features.3"), ("layer2", "features.6"), ("layer3", "features.13")]
    assert pairs.shapes == (((24, 8, 8), (64, 8, 8)), ((32, 4, 4), (128, 4, 4)), ((96, 2, 2), (256, 2, 2)))


@pytest.mark.parametrize(
    ("teacher", "student", "expected"),
    [
        ("cifar_resnet56", "cifar_resnet20", ["layer1", "layer2", "layer3"]),
        ("resnet50", "shufflenet_v2_x0_5", ["layer1", "layer2", "layer3"]),
        ("googlenet", "mobilenet_v2", ["conv3", "inception3b", "inception4e"]),
    ],
)
def test_a_tap_is_the_end_of_a_stage_and_no_part_of_the_next_one(teacher: str, student: str, expected: list[str]) -> None:
    assert [tap.teacher for tap in pair_up(model(teacher), model(student), PICTURE).taps] == expected


def test_a_folded_teacher_has_the_same_taps_and_nearly_the_same_maps() -> None:
    teacher, student = model("resnet18").eval(), model("mobilenet_v2")
    folded, picture = models.fold_for_inference(teacher), torch.randn(2, 3, 32, 32)
    pairs = pair_up(teacher, student, PICTURE)
    assert pair_up(folded, student, PICTURE) == pairs
    found = []
    for network in (teacher, folded):
        with torch.no_grad(), tapped(network, [tap.teacher for tap in pairs.taps]) as maps:
            network(picture)
        found.append(maps)
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-3, atol=1e-4)


class Shrinking(nn.Sequential):
    """Maps of 15, 7 and 3 pixels: no resolution that others have."""

    def __init__(self) -> None:
        super().__init__(*(nn.Conv2d(3 if n == 0 else 4, 4, 3, stride=2) for n in range(3)), nn.Flatten(), nn.Linear(36, 5))


def test_networks_without_a_shared_resolution_are_paired_from_the_end() -> None:
    pairs = pair_up(Shrinking(), model("mobilenet_v2"), PICTURE)
    assert names(pairs) == [("0", "features.3"), ("1", "features.6"), ("2", "features.13")]


def test_networks_without_maps_have_no_taps_and_none_are_found_where_none_are_wanted() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(3072, 5))
    assert pair_up(flat, model("mobilenet_v2"), PICTURE) == Pairs()
    assert pair_up(model("resnet18"), model("mobilenet_v2"), PICTURE, ()) == Pairs()


def test_named_taps_are_taken_as_they_are_and_wrong_ones_refused_with_the_nearest_name() -> None:
    teacher, student = model("resnet18"), model("mobilenet_v2")
    assert names(pair_up(teacher, student, PICTURE, [("layer2.0", "features.2")])) == [("layer2.0", "features.2")]
    with pytest.raises(InputError, match=r"teacher has no module 'layer9'.*did you mean 'layer\d'"):
        pair_up(teacher, student, PICTURE, [("layer9", "features.2")])
    with pytest.raises(InputError, match="of the student gives no map"):
        pair_up(teacher, student, PICTURE, [("layer2", "classifier")])


def test_looking_changes_neither_modes_nor_statistics_nor_hooks() -> None:
    network = model("resnet18").train()
    network.layer2.eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert "layer3.1" in shapes(network, PICTURE)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert (network.training, network.layer2.training, network.layer2[0].training) == (True, False, False)
    assert not any(module._forward_hooks for module in network.modules())


def test_maps_are_those_of_each_forward_pass_in_either_mode_with_their_graph() -> None:
    network = model("mobilenet_v2")
    with tapped(network, ["features.3"]) as maps:
        seen: list[Tensor] = []
        for training in (True, False, True):
            network.train(training)
            network(torch.randn(2, 3, 32, 32))
            seen.append(maps["features.3"])
    assert [one.requires_grad for one in seen] == [True] * 3
    assert not torch.equal(seen[0], seen[1])
    network(torch.randn(2, 3, 32, 32))
    assert maps["features.3"] is seen[2]


def test_a_module_that_runs_twice_has_no_output_of_its_own() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.same, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3, 5)

        def forward(self, images: Tensor) -> Tensor:
            return self.head(self.same(self.same(images)).mean((2, 3)))

    assert list(shapes(Twice(), PICTURE)) == ["head"]


@pytest.mark.parametrize(
    ("name", "head", "tail"),
    [
        ("resnet18", ["fc"], ["layer4", "fc"]),
        ("mobilenet_v2", ["classifier.1"], None),
        ("cifar_resnet20", ["fc"], ["layer3", "fc"]),
    ],
)
def test_head_and_tail_are_the_last_layer_and_the_last_stage(name: str, head: list[str], tail: list[str] | None) -> None:
    network = model(name)
    of = {id(weight): key for key, weight in network.named_parameters()}
    found = [{of[id(weight)] for weight in part} for part in head_and_tail(network, PICTURE)]
    assert found[0] == {key for key in of.values() if key.startswith(tuple(head))}
    if tail is not None:
        assert found[1] == {key for key in of.values() if key.startswith(tuple(tail))}
    assert found[0] < found[1] < set(of.values())

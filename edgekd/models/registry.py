"""Models by name: torchvision's, the papers' and those of installed packages, each for any number of classes and image size.

A torchvision model is built exactly as torchvision builds it: strides are never changed, so most networks see a 32-pixel image as
1x1 features before they pool. What does not work at a size is refused with the next size that does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from edgekd.core import InputError
from edgekd.models.names import GROUP, PAPERS, SHUFFLENET_WIDTHS, TORCHVISION, check_model, shufflenet_total
from edgekd.models.papers import BUILDERS

Size = tuple[int, int]
_LARGEST = 512  # pixels: how far a size that works is looked for


@dataclass(frozen=True)
class ModelSpec:
    """What ``create`` was asked for; kept on the model as ``edgekd_spec`` and in saved files."""

    name: str
    classes: int
    image_size: Size
    width: float = 1.0


Builder = Callable[[ModelSpec], nn.Module]  # from float32 [N,3,h,w] to logits [N,classes]


def create(name: str, *, classes: int, image_size: int | Sequence[int], width: float = 1.0) -> nn.Module:
    """A new model, float32 [N,3,h,w] → logits [N,classes], initialised from torch's global generator; carries ``edgekd_spec``.

    image_size: h and w, or both at once. width: of MobileNet, MnasNet and ResNet the factor on all channels (ResNet's to
    multiples of 8), of ShuffleNetV2 one of its published widths. Raises InputError: unknown name (with the nearest ones),
    a width it does not come in, a size it cannot take (with the next it can).
    """
    check_model(name, width, where=f"model {name}")
    if classes < 2:
        raise InputError("a classifier needs at least two classes", where=f"model {name}", seen=str(classes))
    height, width_px = (image_size, image_size) if isinstance(image_size, int) else image_size
    spec = ModelSpec(name, classes, (height, width_px), width)
    model = None
    try:
        model = _build(spec)
        _try(model, spec.image_size)
    except (RuntimeError, ValueError, AssertionError) as error:
        raise _wrong_size(spec, model, error) from error
    model.edgekd_spec = spec  # type: ignore[assignment]
    return model


def spec_of(model: nn.Module) -> ModelSpec:
    """What the model was created as. Raises InputError for a model that ``create`` did not make."""
    spec = getattr(model, "edgekd_spec", None)
    if not isinstance(spec, ModelSpec):
        raise InputError("the model was not made by edgekd.models.create", seen=type(model).__name__)
    return spec


def _build(spec: ModelSpec) -> nn.Module:
    if spec.name in PAPERS:
        return BUILDERS[spec.name](spec.classes)
    if spec.name not in TORCHVISION:
        (entry, *others) = entry_points(group=GROUP, name=spec.name)
        if others:
            packages = ", ".join(sorted(one.value for one in (entry, *others)))
            raise InputError("two installed packages offer this model", where=f"model {spec.name}", seen=packages)
        builder: Builder = entry.load()
        return builder(spec)
    name, options = spec.name, _options(spec)
    if name.startswith("shufflenet_v2_x"):
        name = f"shufflenet_v2_x{SHUFFLENET_WIDTHS[shufflenet_total(name, spec.width)]}"
    if name.startswith("mnasnet") and spec.width != 1:
        alpha = float(name.removeprefix("mnasnet").replace("_", ".")) * spec.width
        scaled: nn.Module = torchvision.models.MNASNet(alpha, num_classes=spec.classes)
        return scaled
    if name.startswith("resnet") and spec.width != 1:
        return _scaled_resnet(spec)
    model: nn.Module = torchvision.models.get_model(name, weights=None, num_classes=spec.classes, **options)
    return model


def _options(spec: ModelSpec) -> dict[str, Any]:
    if spec.name in (
        "googlenet",
        "inception_v3",
    ):  # no auxiliary heads; their own initialisation, asked for so as not to be warned
        return {"aux_logits": False, "init_weights": True}
    if spec.name.startswith("vit_"):
        if spec.image_size[0] != spec.image_size[1]:
            raise ValueError("only square images")
        return {"image_size": spec.image_size[0]}
    if spec.name.startswith("maxvit"):
        return {"input_size": spec.image_size}
    return {"width_mult": spec.width} if spec.name.startswith("mobilenet") else {}


def _scaled_resnet(spec: ModelSpec) -> nn.Module:
    """torchvision's ResNet with every channel count times width, to multiples of 8."""

    def scaled(channels: int) -> int:
        return max(8, round(channels * spec.width / 8) * 8)

    class ScaledResNet(torchvision.models.ResNet):  # type: ignore[misc]
        def _make_layer(self, block: Any, planes: int, *args: Any, **kwargs: Any) -> nn.Sequential:
            if planes == 64:  # the first stage: the stem was just made
                self.inplanes = scaled(64)
                self.conv1 = nn.Conv2d(3, self.inplanes, kernel_size=7, stride=2, padding=3, bias=False)
                self.bn1 = nn.BatchNorm2d(self.inplanes)
            stage: nn.Sequential = super()._make_layer(block, scaled(planes), *args, **kwargs)
            if planes == 512:  # the last one: the classifier comes next and must fit
                self.features = self.inplanes
            return stage

    plan = {
        "resnet18": (torchvision.models.resnet.BasicBlock, [2, 2, 2, 2]),
        "resnet34": (torchvision.models.resnet.BasicBlock, [3, 4, 6, 3]),
        "resnet50": (torchvision.models.resnet.Bottleneck, [3, 4, 6, 3]),
        "resnet101": (torchvision.models.resnet.Bottleneck, [3, 4, 23, 3]),
        "resnet152": (torchvision.models.resnet.Bottleneck, [3, 8, 36, 3]),
    }
    model = ScaledResNet(*plan[spec.name], num_classes=spec.classes)
    model.fc = nn.Linear(model.features, spec.classes)
    return model


def _try(model: nn.Module, size: Size) -> None:
    """Run the shapes through the model without computing anything."""
    state = {name: tensor.to("meta") for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = torch.func.functional_call(model, state, (torch.empty(2, 3, *size, device="meta"),))
        if not isinstance(logits, Tensor) or logits.ndim != 2:
            raise ValueError("the model does not return logits [N,classes]")
    finally:
        model.train(training)


def _wrong_size(spec: ModelSpec, model: nn.Module | None, error: Exception) -> InputError:
    """model: as built for the size that did not work, or None if it could not even be built."""
    height, width = spec.image_size
    fix = "use another model"
    for side in range(8, _LARGEST + 1, 8):
        if side <= min(height, width):
            continue
        try:
            _try(model or _build(ModelSpec(spec.name, spec.classes, (side, side), spec.width)), (side, side))
        except (RuntimeError, ValueError, AssertionError):
            continue
        fix = f"data.image_size: {side} works"
        break
    seen = " ".join(str(error).split())[:160]
    return InputError(f"{spec.name} cannot take images of {height}x{width}", where="data.image_size", seen=seen, fix=fix)

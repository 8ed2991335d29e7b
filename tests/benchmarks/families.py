"""Every family of networks in 8 bits beside float and beside onnxruntime's own quantize_static.

    python tests/benchmarks/families.py                                              the smallest of each family, at 32 px
    python tests/benchmarks/families.py resnet18 mobilenet_v2 --size 224 --time      of the registry
    python tests/benchmarks/families.py all --size 224 --time

Of each file: the convolutions and matrix products that onnxruntime executes in float, its other ops in float, and how the logits
part from the fp32 file's: SQNR, agreement. Nobody trained the networks (tests/fakes/healthy.py); --steps does, which a deep one
needs for its logits to mean something, and which changes no speed. --time adds how much faster than fp32 each is: batch 1, one
thread, through the device agent, least and greatest of the rounds; run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import numpy as np
import torch
from numpy.typing import NDArray

from edgekd import export, models, quant, targets
from edgekd.core import EdgekdError, over_rounds
from edgekd.device.onnxrt import executed_layers
from edgekd.stages.signal import sqnr

sys.path.insert(0, str(Path(__file__).parents[1] / "fakes"))
import families
from healthy import gratings, healthy

ALL = (
    "resnet18", "resnet50", "resnext50_32x4d", "wide_resnet50_2", "vgg11", "vgg11_bn", "mobilenet_v1", "mobilenet_v2",
    "mobilenet_v3_small", "mobilenet_v3_large", "shufflenet_v2_x1_0", "efficientnet_b0", "efficientnet_v2_s", "squeezenet1_1",
    "mnasnet1_0", "regnet_x_400mf", "regnet_y_400mf", "googlenet", "inception_v3", "densenet121", "convnext_tiny",
)  # fmt: skip
FITTED, CALIBRATED, JUDGED = 512, 64, 256  # images; those judged are others
_BETWEEN = {"QuantizeLinear", "DequantizeLinear", "ReorderInput", "ReorderOutput", "Pad"}


def files_of(name: str, size: int, steps: int, folder: Path) -> tuple[dict[str, Path], NDArray[np.float32], quant.Quantized, str]:
    """The files to compare, fp32 first, images float32 [N,3,H,W] to judge by, what was quantized, and what failed."""
    torch.manual_seed(0)
    images, labels = gratings(FITTED + JUDGED, size)
    own = name in families.FAMILIES
    net = healthy(
        families.make(name) if own else models.create(name, classes=10, image_size=size), images[:FITTED], labels[:FITTED], steps
    )
    ours = "ort" if export.exact_sums() else "ort-w7"
    quantized = quant.quantize(net, images[:CALIBRATED].split(32), (ours,))
    marked = export.float_export(quantized.for_export(), quantized.image_size)
    made = export.write(marked, quantized.state_dict(), quantized.sites, folder, ("fp32", ours))
    files = {"fp32": made["fp32"], "ours": made[ours]}
    try:
        files["quantize_static"] = export.stock_int8(made["fp32"], images[:CALIBRATED].numpy(), folder / "stock.onnx")
    except EdgekdError as error:
        return files, images[FITTED:].numpy(), quantized, str(error)
    return files, images[FITTED:].numpy(), quantized, ""


def speedups(files: Mapping[str, Path], example: NDArray[np.float32]) -> dict[str, str]:
    """Of each file over the first: median of the rounds, least and greatest."""
    spec = SimpleNamespace(
        device="local-cpu", runtime="onnxruntime", precision="int8", required="always", threads=1, tensorrt=None, host=None,
        python="python3", clocks="as-is",
    )  # fmt: skip
    with targets.connect(targets.resolve("cpu", spec), targets.Reach()) as device:
        device.build(files)
        measured, suspect = targets.measure_calmly(device, files, example, targets.MeasuringPlan(budget_s=120))
    medians = {name: [float(np.median(times)) for times in rounds] for name, rounds in measured["rounds"].items()}
    told = {}
    for name, own in medians.items():
        ratio = over_rounds(name, [slow / fast for slow, fast in zip(medians["fp32"], own, strict=True)], "ratio", len(own))
        told[name] = f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]{' suspect' if suspect else ''}"
    return told


def print_family(name: str, size: int, steps: int, *, timed: bool) -> None:
    started = time.monotonic()
    with TemporaryDirectory() as place:
        files, inputs, quantized, failed = files_of(name, size, steps, Path(place))
        faster = speedups(files, inputs[:1]) if timed else {}
        reference = export.run_onnx(files["fp32"], inputs, optimised=True)
        spread = np.bincount(reference.argmax(1), minlength=10).max() / len(reference)
        chosen = next(one["name"] for one in quantized.candidates if one["chosen"])
        print(f"{name}, {inputs.shape[2]} px, {chosen}, {spread:.0%} in one class, {time.monotonic() - started:.0f} s")
        for one, path in files.items():
            executed = executed_layers(str(path), inputs[:1])
            heavy = len(targets.float_layers(executed))
            others = Counter(
                layer["op"]
                for layer in executed
                if layer["dtype"] == "float" and layer["op"] not in _BETWEEN and not layer["op"].startswith("QLinear")
            )
            logits = export.run_onnx(path, inputs, optimised=True)
            agree = np.mean(logits.argmax(1) == reference.argmax(1))
            said = ", ".join(f"{count} {op}" for op, count in others.items()) if one != "fp32" else ""
            print(f"  {one:16}{heavy:4d} float {sqnr(reference, logits):7.1f} dB {agree:7.3f}  {faster.get(one, ''):28}{said}")
        for one in quantized.float_layers:
            print(f"    {one['layer']}: {one['reason']}")
        if failed:
            print(f"  {failed}")
        sys.stdout.flush()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("names", nargs="*", default=list(families.FAMILIES), help="of the registry, or: all")
    arguments.add_argument("--size", type=int, default=32)
    arguments.add_argument("--steps", type=int, default=0)
    arguments.add_argument("--time", action="store_true")
    given = arguments.parse_args()
    for name in ALL if given.names == ["all"] else given.names:
        print_family(name, given.size, given.steps, timed=given.time)


if __name__ == "__main__":
    main()

"""What 8 bits cost, as exported: PTQ and QAT beside the float network and onnxruntime's own quantize_static, on the test images.

    python tests/benchmarks/quantization_accuracy.py                          both tasks, seeds 0 1 2
    python tests/benchmarks/quantization_accuracy.py --tasks pairs --seeds 0 --epochs 2 --images 1000

    digits   the shipped scans of handwritten digits, 10 classes
    pairs    two of those scans half across each other, faint, turned and noisy; which one is the left: 10 classes. After
             training, the channels inside the network's blocks are spread by exp(N(0, 1)): that changes nothing in float, and is
             what networks with a bad balance of channels look like to a quantizer

The networks, mobilenet_v2 x0.5 and resnet18 x0.25, are trained on labels. Rows: "plain" is PTQ without candidates, "ptq" the best
candidate, "qat" what fine-tuning makes of it, whether it would ship or not. Each is run by onnxruntime as written (un-optimised)
and optimised; int8 files are those for this CPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from pictures import write_pairs
from torch import nn
from torchvision.models.resnet import BasicBlock

from edgekd import data, distill, export, quant
from edgekd.recipe import loads
from edgekd.stages.accuracy import right
from edgekd.stages.compute import set_up
from edgekd.stages.context import Context
from edgekd.stages.fine_tuning import fine_tune
from edgekd.stages.held_out import held_out_logits
from edgekd.stages.images import open_images
from edgekd.stages.networks import new_network
from edgekd.stages.rounded import judged_rounded
from edgekd.stages.training import train

RECIPE = """\
edgekd: 1
name: accuracy
data: {source: SOURCE, image_size: 32}
teacher: {model: resnet18, epochs: 1}
student: {STUDENT}
distill: {method: label, epochs: 1}
quantize: {mode: qat}
targets: {cpu: {device: local-cpu, runtime: onnxruntime}}
"""
FLAVOURS = ("ort", "ort-w7")


@torch.no_grad()
def unbalance(network: nn.Module, seed: int) -> None:
    """Spread the channels between the two convolutions of each residual block by exp(N(0, 1)); the float function stays."""
    draw = torch.Generator().manual_seed(seed)
    for block in network.modules():
        if isinstance(block, BasicBlock):
            factor = torch.exp(torch.randn(block.bn1.num_features, generator=draw))
            block.bn1.weight *= factor
            block.bn1.bias *= factor
            block.conv2.weight /= factor.view(1, -1, 1, 1)


def rows(task: str, recipe_folder: Path, seed: int, epochs: int, folder: Path) -> Iterator[tuple[str, float, float]]:
    """(name, top-1 un-optimised, top-1 optimised) on the test images."""
    source = "digits" if task == "digits" else f"imagefolder, path: {recipe_folder}, hflip: false"
    student = "model: mobilenet_v2, width: 0.5" if task == "digits" else "model: resnet18, width: 0.25"
    text = RECIPE.replace("SOURCE", source).replace("STUDENT", student)
    recipe = loads(text, f"{task}.yaml", recipe_folder, (f"seed={seed}", f"distill.epochs={epochs}"))
    context = Context(recipe, folder)
    device, images = set_up(recipe), open_images(context)
    network = new_network(recipe, "student", len(images.classes), to_be_trained=True)
    train(context, [network], distill.create("label"), recipe.distill, "distill", device)  # type: ignore[arg-type]
    if task == "pairs":
        unbalance(network, seed)
    network = network.cpu().eval()
    calibration = data.model_inputs(images.calibration(recipe.quantize.calibration_images), images.preprocessing)
    batches = torch.from_numpy(calibration).split(64)
    made = {"plain": quant.quantize(network, batches, flavours=()), "ptq": quant.quantize(network, batches, FLAVOURS)}
    ptq = judged_rounded(context, made["ptq"], FLAVOURS, held_out_logits(context, network), images.held_out.labels)
    made["qat"] = fine_tune(context, ptq, network, device).quantized
    marked = export.float_export(made["ptq"].for_export(), made["ptq"].image_size)
    flavour = "ort" if export.exact_sums() else "ort-w7"
    files = {}
    for name, one in made.items():
        (folder / name).mkdir()
        paths = export.write(marked, one.state_dict(), one.sites, folder / name, ("fp32", flavour))
        files["float"], files[name] = paths["fp32"], paths[flavour]
    files["quantize_static"] = export.stock_int8(files["float"], calibration, folder / "stock.onnx")
    inputs, labels = data.model_inputs(images.test, images.preprocessing), images.test.labels
    for name, path in files.items():
        top1 = [float(np.mean(right(export.run_onnx(path, inputs, optimised=one, threads=2), labels))) for one in (False, True)]
        yield name, top1[0], top1[1]
    chosen = next(one["name"] for one in made["ptq"].candidates if one["chosen"])
    print(f"  {task}, seed {seed}: ptq is {chosen}; {len(labels)} test images, int8 is {flavour}", flush=True)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--tasks", nargs="+", choices=("digits", "pairs"), default=["digits", "pairs"])
    arguments.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    arguments.add_argument("--epochs", type=int, default=12, help="of the float training")
    arguments.add_argument("--images", type=int, default=6000, help="of pairs, to train on")
    given = arguments.parse_args()
    for task in given.tasks:
        started = time.monotonic()
        found: dict[str, list[tuple[float, float]]] = {}
        with TemporaryDirectory() as pictures:
            if task == "pairs":
                write_pairs(Path(pictures), given.images)
            for seed in given.seeds:
                with TemporaryDirectory() as folder:
                    for name, plain, optimised in rows(task, Path(pictures), seed, given.epochs, Path(folder)):
                        found.setdefault(name, []).append((plain, optimised))
        print(f"{task}: test top-1 in %, seeds {given.seeds}, {time.monotonic() - started:.0f} s")
        print(f"  {'':16}{'un-optimised':>34}{'optimised':>34}")
        for name, pairs in found.items():
            cells = [_cell([100 * pair[column] for pair in pairs]) for column in (0, 1)]
            print(f"  {name:16}{cells[0]:>34}{cells[1]:>34}", flush=True)


def _cell(values: list[float]) -> str:
    return f"{np.mean(values):.2f}  ({', '.join(f'{value:.2f}' for value in values)})"


if __name__ == "__main__":
    main()

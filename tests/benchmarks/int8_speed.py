"""How much faster int8 is than fp32 in onnxruntime here, and than what onnxruntime's own quantize_static makes.

    python tests/benchmarks/int8_speed.py mobilenet_v2 resnet18 --size 224

One thread, batch 1, rounds of interleaved blocks through the device agent; ratios of the rounds' medians with their least and
greatest. Weights are random (batch statistics set once), which changes no speed. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from edgekd import export, models, quant, targets
from edgekd.core import over_rounds
from edgekd.core.statistics import percentile_by_rank


def network(name: str, size: int) -> torch.nn.Module:
    torch.manual_seed(0)
    model = models.create(name, classes=10, image_size=size).train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(8, 3, size, size))
    return model.eval()


def stock(fp32: Path, folder: Path, size: int, reduce_range: bool) -> Path:
    """onnxruntime's own QDQ quantization: per channel, pre-processed, min-max."""
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quant_pre_process, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = [{"input": np.random.default_rng(n).standard_normal((1, 3, size, size), np.float32)} for n in range(4)]

        def get_next(self):
            return self.left.pop() if self.left else None

    prepared, made = folder / "prepared.onnx", folder / "stock.onnx"
    quant_pre_process(str(fp32), str(prepared))
    quantize_static(str(prepared), str(made), Reader(), per_channel=True, reduce_range=reduce_range,
                    activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)  # fmt: skip
    return made


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("names", nargs="+")
    arguments.add_argument("--size", type=int, default=224)
    given = arguments.parse_args()
    spec = SimpleNamespace(
        device="local-cpu", runtime="onnxruntime", precision="int8", required="always", threads=1, tensorrt=None, host=None,
        python="python3", clocks="as-is",
    )  # fmt: skip
    with targets.connect(targets.resolve("cpu", spec), targets.Reach()) as device:
        identity = device.probe()["identity"]
        flavour = targets.flavour_for(identity)
        print(identity["cpu"], ", ".join(identity["isa"]), "->", flavour)
        for name in given.names:
            with tempfile.TemporaryDirectory() as place:
                folder = Path(place)
                images = torch.randn(8, 3, given.size, given.size)
                quantized = quant.quantize(network(name, given.size), [images])
                marked = export.float_export(quantized.for_export(), quantized.image_size)
                files = export.write(marked, quantized.state_dict(), quantized.sites, folder, ("fp32", flavour))
                timed = {"fp32": files["fp32"], "int8": files[flavour]}
                timed["stock"] = stock(files["fp32"], folder, given.size, reduce_range=flavour == "ort-w7")
                built = device.build({"int8": files[flavour]})["int8"]
                plan = targets.MeasuringPlan(budget_s=120)
                measured, suspect = targets.measure_calmly(device, timed, images[:1].numpy(), plan)
                medians = {
                    one: [percentile_by_rank(times, 0.5) for times in rounds] for one, rounds in measured["rounds"].items()
                }
                print(f"{name} {given.size} px, float layers executed {len(targets.float_layers(built.layers))}")
                for one in ("int8", "stock"):
                    ratios = [slow / fast for slow, fast in zip(medians["fp32"], medians[one], strict=True)]
                    ratio = over_rounds(one, ratios, "ratio", len(ratios))
                    print(f"  fp32 / {one:5}  {ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]  {min(medians[one]):.2f} ms")
                if suspect:
                    print("  suspect:", "; ".join(suspect))


if __name__ == "__main__":
    main()

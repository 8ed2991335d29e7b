"""The command line in a process of its own, and a small recipe: real images, real training, real onnxruntime, in seconds."""

import json
import subprocess
import sys

RECIPE = """\
edgekd: 1
name: small
compute: {threads: 2}
data: {source: digits, image_size: 32}
teacher: {model: resnet18, width: 0.25, epochs: 3}
student: {model: mobilenet_v2, width: 0.35}
distill: {method: sld, epochs: 3}
quantize: {mode: ptq, calibration_images: 64}
targets:
  cpu: {device: local-cpu, runtime: onnxruntime, precision: int8}
  jetson: {device: jetson-orin-nano-8gb, runtime: tensorrt, precision: int8+fp16, required: when-connected}
gates:
  teacher: {top1: {min: 0.3}}
  quantize: {top1_drop: {max: 0.3}}
  export: {parity: {top1_agreement: {min: 0.9}}}
  build: {cpu: {layers: {float: {max: 0}}}}
  benchmark: {cpu: {top1_drop: {max: 0.2}}}
  bundle: {golden_agreement: {min: 1}}
"""


def edgekd(*words, cwd, before="", **options):
    """Run the command line in a new process, after the Python statements in ``before``."""
    program = f"import sys; {before or 'pass'}\nfrom edgekd.cli import main\nmain(sys.argv[1:])"
    command = [sys.executable, "-c", program, *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=500, check=False, **options)


def document_of(finished):
    return json.loads(finished.stdout)


def statuses(document):
    return {
        f"{step['target']}/{step['name']}" if "target" in step else step["name"]: step["status"] for step in document["stages"]
    }

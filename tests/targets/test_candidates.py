"""What a device runs follows from what it is: its CPU, its TensorRT."""

import pytest

from edgekd.core import DeviceError, EnvironmentProblem
from edgekd.targets import candidates, resolve


def jetson(local_spec, precision="int8+fp16", **changes):
    return resolve("jetson", local_spec(device="jetson-orin-nano-8gb", runtime="tensorrt", precision=precision, **changes))


@pytest.mark.parametrize(
    ("precision", "version", "files"),
    [
        ("int8+fp16", "8.5.2.2", {"int8+fp16": "trt", "fp16": "fp32-b1", "fp32": "fp32-b1"}),
        ("int8+fp16", "10.16.2.10", {"int8+fp16": "trt-fp16", "fp16": "fp16", "fp32": "fp32-b1"}),
        ("int8", "8.6.2", {"int8": "trt", "fp16": "fp32-b1", "fp32": "fp32-b1"}),
        ("fp16", "10.3.0.30", {"fp16": "fp32-b1", "fp32": "fp32-b1"}), ("fp32", "8.4.1", {"fp32": "fp32-b1"}),
    ],
)  # fmt: skip
def test_engines_are_built_from_the_files_of_the_version_that_is_there(local_spec, precision, version, files):
    assert list(candidates(jetson(local_spec, precision), {"tensorrt": version}).items()) == list(files.items())


def test_a_cpu_gets_the_int8_file_that_is_right_on_it(local_spec):
    target = resolve("cpu", local_spec())
    assert candidates(target, {"arch": "aarch64", "isa": []}) == {"int8": "ort", "fp32": "fp32"}
    assert candidates(target, {"arch": "x86_64", "isa": ["avx2"]}) == {"int8": "ort-w7", "fp32": "fp32"}
    assert candidates(resolve("cpu", local_spec(precision="fp32")), {}) == {"fp32": "fp32"}


def test_a_device_without_tensorrt_or_with_one_older_than_promised_is_refused(local_spec):
    with pytest.raises(EnvironmentProblem, match="has no TensorRT"):
        candidates(jetson(local_spec), {"tensorrt": None})
    with pytest.raises(DeviceError, match=r"older than 10\.0, which the recipe's files") as refused:
        candidates(jetson(local_spec, tensorrt="10.0"), {"tensorrt": "8.6.2.3"})
    assert (refused.value.seen, 'tensorrt: "8.6"' in refused.value.fix) == ("8.6.2.3", True)

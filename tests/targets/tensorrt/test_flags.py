"""The options of trtexec by version: one it does not know is fatal there, a wrong one for the precision gives wrong numbers."""

import re

import pytest

from edgekd.core import InputError
from edgekd.targets.tensorrt.flags import build_flags, flavour_to_build, version_of, workspace_mib

DETAILED = "--profilingVerbosity=detailed"
WHOLE = "--int8 --fp16"

# Read off the option parsers of the public releases (NVIDIA/TensorRT, release/*, samples/common/sampleOptions.cpp).
NEW = {"noTF32", "memPoolSize", "skipInference", "builderOptimizationLevel", "profilingVerbosity"}
OLD = {"fp16", "int8", "noTF32", "workspace", "buildOnly", "profilingVerbosity"}
KNOWN = {
    (8, 2): OLD,
    (8, 4): OLD | {"memPoolSize"},
    (8, 5): OLD | {"memPoolSize"},
    (8, 6): OLD | NEW,
    **{(10, minor): NEW | {"fp16", "int8", "stronglyTyped"} for minor in range(17)},
    **{(11, minor): NEW for minor in range(2)},
}
PRECISIONS = ("fp32", "fp16", "int8", "int8+fp16")


@pytest.mark.parametrize(
    ("version", "precision", "expected"),
    [
        ((8, 2), "int8+fp16", f"{WHOLE} --workspace=1024 --buildOnly {DETAILED}"),
        ((8, 4), "int8+fp16", f"{WHOLE} --memPoolSize=workspace:1024 --buildOnly {DETAILED}"),
        ((8, 5), "int8+fp16", f"{WHOLE} --memPoolSize=workspace:1024 --buildOnly {DETAILED}"),
        ((8, 5), "fp16", f"--fp16 --memPoolSize=workspace:1024 --buildOnly {DETAILED}"),
        ((8, 5), "fp32", f"--noTF32 --memPoolSize=workspace:1024 --buildOnly {DETAILED}"),
        ((8, 6), "int8+fp16", f"{WHOLE} --memPoolSize=workspace:1024 --skipInference --builderOptimizationLevel=3 {DETAILED}"),
        ((10, 0), "int8", f"--int8 --memPoolSize=workspace:1024 --skipInference --builderOptimizationLevel=3 {DETAILED}"),
        ((10, 11), "fp16", f"--fp16 --memPoolSize=workspace:1024 --skipInference --builderOptimizationLevel=3 {DETAILED}"),
        ((10, 12), "int8+fp16", f"--stronglyTyped --memPoolSize=workspace:1024 --skipInference --builderOptimizationLevel=3 "
                                f"{DETAILED}"),
        ((10, 16), "fp32", f"--stronglyTyped --noTF32 --memPoolSize=workspace:1024 --skipInference --builderOptimizationLevel=3 "
                           f"{DETAILED}"),
        ((11, 0), "int8+fp16", f"--memPoolSize=workspace:1024 --skipInference --builderOptimizationLevel=3 {DETAILED}"),
    ],
)  # fmt: skip
def test_the_options_of_a_version_are_these(version, precision, expected):
    assert build_flags(version, precision) == expected.split()


@pytest.mark.parametrize("version", KNOWN, ids=lambda version: ".".join(map(str, version)))
@pytest.mark.parametrize("precision", PRECISIONS)
def test_no_version_is_given_an_option_it_does_not_know_or_knows_twice(version, precision):
    names = [re.match(r"--(\w+)", flag)[1] for flag in build_flags(version, precision)]
    assert set(names) <= KNOWN[version] and len(names) == len(set(names))


@pytest.mark.parametrize("version", KNOWN, ids=lambda version: ".".join(map(str, version)))
def test_int8_is_never_asked_of_a_file_without_scales_nor_fp16_of_options_and_file(version):
    for precision in PRECISIONS:
        flavour, flags = flavour_to_build(version, precision), build_flags(version, precision)
        assert ("int8" in precision) == flavour.startswith("trt")
        assert not ("--int8" in flags and not flavour.startswith("trt"))
        assert ("--fp16" in flags) + flavour.endswith("fp16") == ("fp16" in precision)


@pytest.mark.parametrize(
    ("version", "files"),
    [
        ((8, 5), ["fp32-b1", "fp32-b1", "trt", "trt"]), ((10, 11), ["fp32-b1", "fp32-b1", "trt", "trt"]),
        ((10, 12), ["fp32-b1", "fp16", "trt", "trt-fp16"]), ((11, 0), ["fp32-b1", "fp16", "trt", "trt-fp16"]),
    ],
)  # fmt: skip
def test_up_to_10_11_options_choose_the_float_type_and_then_the_file_does(version, files):
    assert [flavour_to_build(version, precision) for precision in PRECISIONS] == files


@pytest.mark.parametrize("version", [(7, 2), (8, 0), (8, 3), (9, 3), (12, 0)])
def test_a_version_whose_options_are_not_known_is_refused(version):
    with pytest.raises(InputError, match="not known"):
        build_flags(version, "fp16")


@pytest.mark.parametrize(("memory_gib", "mib"), [(4, 512), (8, 1024), (64, 1024), (None, 1024)])
def test_the_workspace_leaves_a_small_board_its_memory(memory_gib, mib):
    assert workspace_mib(memory_gib) == mib
    assert f"--workspace={mib}" in build_flags((8, 2), "fp16", mib)


def test_a_version_is_read_from_what_a_device_says():
    assert (version_of("10.3.0.30"), version_of("8.5")) == ((10, 3), (8, 5))
    for text in ("ten", "8", "8.x"):
        with pytest.raises(InputError, match="not a version"):
            version_of(text)

"""An engine is known by its first bytes before anything tries to load it, and refused kindly."""

import pytest

from edgekd.core import DeviceError
from edgekd.targets.tensorrt import HEADER_BYTES, check_version, plan_header

# As trtexec --getPlanVersionOnly reads them: "ftrt", layout 0, 16 private bytes, then the version.
PLAN = b"ftrt" + bytes(4) + b"\xaa" * 16 + bytes([10, 3, 0, 30]) + b"private"


def test_an_engine_tells_which_tensorrt_built_it():
    assert plan_header(PLAN, "jetson").tensorrt == (10, 3, 0, 30)
    assert len(PLAN[:HEADER_BYTES]) == 28 and plan_header(PLAN[:HEADER_BYTES], "jetson").tensorrt == (10, 3, 0, 30)


def test_an_engine_of_tensorrt_8_or_of_another_layout_tells_nothing():
    for head in (PLAN[:24] + bytes([8, 5, 2, 2]), PLAN[:4] + b"\1\0\0\0" + PLAN[8:]):
        header = plan_header(head, "jetson")
        assert header.tensorrt is None
        check_version(header, (10, 3, 0), "jetson")  # not known to be another


@pytest.mark.parametrize(
    ("head", "what"),
    [(b"", "there is no engine"), (PLAN[:27], "cut short"), (b"ftrt", "cut short"), (b"ftr", "no TensorRT engine"),
     (b"\x7fELF" + bytes(40), "no TensorRT engine"), (b"trtf" + PLAN[4:], "no TensorRT engine")],
)  # fmt: skip
def test_what_is_no_whole_engine_is_refused(head, what):
    with pytest.raises(DeviceError, match=what) as refused:
        plan_header(head, "jetson: build")
    assert refused.value.where == "jetson: build" and refused.value.seen and "build it again" in refused.value.fix


def test_a_file_shorter_than_it_should_be_is_refused():
    assert plan_header(PLAN, "jetson", size=1000, expected_size=1000)
    with pytest.raises(DeviceError, match="cut short") as refused:
        plan_header(PLAN, "jetson", size=999, expected_size=1000)
    assert refused.value.seen == "999 bytes of 1000"


@pytest.mark.parametrize("version", [(10, 3, 0, 30), (10, 3, 0), (10, 3), (10, 3, 0, 26)])
def test_the_version_that_built_it_down_to_the_patch_may_load_it(version):
    check_version(plan_header(PLAN, "jetson"), version, "jetson")


def test_private_bytes_of_an_engine_of_tensorrt_8_are_not_taken_for_a_version():
    check_version(plan_header(PLAN, "jetson"), (8, 5, 2), "jetson")


@pytest.mark.parametrize("version", [(10, 3, 1), (10, 16, 2, 10), (10, 4), (11, 0)])
def test_no_other_version_may(version):
    with pytest.raises(DeviceError, match=r"built by TensorRT 10\.3\.0\.30; this is " + r"\.".join(map(str, version))):
        check_version(plan_header(PLAN, "jetson"), version, "jetson")

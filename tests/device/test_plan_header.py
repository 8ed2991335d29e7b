"""An engine is known by its first bytes before anything tries to load it, and refused kindly."""

import pytest

from edgekd.device import Problem
from edgekd.device.plan_header import SIZE, built_by, check, head

# As trtexec --getPlanVersionOnly reads them: "ftrt", layout 0, 16 private bytes, then the version.
PLAN = b"ftrt" + bytes(4) + b"\xaa" * 16 + bytes([10, 3, 0, 30]) + b"private"


@pytest.fixture
def engine(tmp_path):
    path = tmp_path / "m.plan"
    path.write_bytes(PLAN)
    return str(path)


def test_an_engine_tells_which_tensorrt_built_it(engine):
    assert head(engine) == PLAN[:SIZE] and built_by(head(engine), "jetson") == (10, 3, 0, 30)


def test_an_engine_of_tensorrt_8_or_of_another_layout_tells_nothing(tmp_path):
    for header in (PLAN[:24] + bytes([8, 5, 2, 2]), PLAN[:4] + b"\1\0\0\0" + PLAN[8:]):
        assert built_by(header, "jetson") is None
        (tmp_path / "m.plan").write_bytes(header)
        check(str(tmp_path / "m.plan"), (10, 3, 0))  # not known to be another


@pytest.mark.parametrize(
    ("header", "what"),
    [(b"", "there is no engine"), (PLAN[:27], "cut short"), (b"ftrt", "cut short"), (b"ftr", "no TensorRT engine"),
     (b"\x7fELF" + bytes(40), "no TensorRT engine"), (b"trtf" + PLAN[4:], "no TensorRT engine")],
)  # fmt: skip
def test_what_is_no_whole_engine_is_refused(header, what):
    with pytest.raises(Problem, match=what) as refused:
        built_by(header, "jetson: build")
    assert refused.value.where == "jetson: build" and refused.value.seen and "build it again" in refused.value.fix


def test_an_engine_that_cannot_be_read_is_told(tmp_path):
    with pytest.raises(Problem, match="cannot be read: No such file"):
        head(tmp_path / "none.plan")


@pytest.mark.parametrize("version", [(10, 3, 0, 30), (10, 3, 0), (10, 3), (10, 3, 0, 26)])
def test_the_version_that_built_it_down_to_the_patch_may_load_it(engine, version):
    check(engine, version)


def test_private_bytes_of_an_engine_of_tensorrt_8_are_not_taken_for_a_version(engine):
    check(engine, (8, 5, 2))


@pytest.mark.parametrize("version", [(10, 3, 1), (10, 16, 2, 10), (10, 4), (11, 0)])
def test_no_other_version_may(engine, version):
    with pytest.raises(Problem, match="another version of TensorRT") as refused:
        check(engine, version)
    assert refused.value.seen == f"built by 10.3.0, here is {'.'.join(map(str, version[:3]))}"

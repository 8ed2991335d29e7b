"""A kit's device finds its words by itself: by the version and the way to TensorRT that the host would read in its words."""

from pathlib import Path

import pytest

from edgekd.core import EnvironmentProblem
from edgekd.device import Problem
from edgekd.device.kit_choice import chosen
from edgekd.targets.tensorrt.installed import installed
from edgekd.targets.tensorrt.versions import NEWEST, known_releases, taken_as

DPKG = sorted(Path(__file__).parents[1].joinpath("fixtures/jetson/dpkg").glob("*.txt"))
BANNERS = ("", "8201", "8502", "100300", "100301", "101303", "110000", "101900")
PYTHONS = ("", "8.5.2.2", "10.3.0", "10.3.0.post1", "11.0.0", "nonsense")
KIT = {"runtime": "tensorrt", "chosen_by": {f"{major}.{minor}": f"{major}.{minor}" for major, minor in known_releases()},
       "newest": {str(major): newest[1] for major, newest in NEWEST.items()}}  # fmt: skip


def saids():
    for dpkg in ("", *(path.read_text(encoding="utf-8") for path in DPKG)):
        for banner in BANNERS:
            for python in PYTHONS:
                said = {"dpkg": dpkg, "tensorrt_python": python, "trtexec": "/x/trtexec" if banner else "",
                        "trtexec_banner": f"&&&& RUNNING TensorRT.trtexec [TensorRT v{banner}]" if banner else ""}  # fmt: skip
                yield {key: value for key, value in said.items() if value}


def test_the_device_chooses_its_words_and_its_way_as_the_host_does():
    assert DPKG
    ways = set()
    for said in saids():
        for versions in ({"numpy": "2.1.0"}, {}):
            probed = {"said": said, "identity": {"versions": versions}}
            try:
                found = installed(probed, "here")
            except EnvironmentProblem:
                with pytest.raises(Problem) as problem:
                    chosen(KIT, probed)
                assert problem.value.code == "environment"
                continue
            release = "{}.{}".format(*taken_as(found.release)[0])
            assert chosen(KIT, probed) == {"script": release, "backend": found.backend}
            ways.add(found.backend)
    assert ways == {"tensorrt", "trtexec"}


@pytest.mark.parametrize(("banner", "release"), [("8201", "8.2"), ("100300", "10.3"), ("101900", "10.16"), ("110500", "11.1")])
def test_a_newer_release_gets_the_words_of_the_newest_known(banner, release):
    said = {"trtexec": "x", "trtexec_banner": f"[TensorRT v{banner}]"}
    assert chosen(KIT, {"said": said}) == {"script": release, "backend": "trtexec"}

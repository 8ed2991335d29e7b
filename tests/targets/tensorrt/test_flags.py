"""The options of trtexec by version: one it does not know is fatal there, a wrong one for the precision gives wrong numbers."""

import re

import pytest

from edgekd.core import InputError
from edgekd.targets.tensorrt.flags import (
    build_flags,
    flavour_to_build,
    infer_flags,
    layer_flags,
    raw_bindings,
    timing_flags,
    workspace_mib,
)
from edgekd.targets.tensorrt.versions import parse_version, taken_as, version_of

DETAILED = "--profilingVerbosity=detailed"
WHOLE = "--int8 --fp16"

# Read off the option parsers of the public releases (NVIDIA/TensorRT, release/*, samples/common/sampleOptions.cpp).
TIMING = {"iterations", "duration", "warmUp", "avgRuns", "percentile", "noDataTransfers", "useSpinWait", "useCudaGraph",
          "separateProfileRun", "dumpProfile"}  # fmt: skip
BUILDING = {"noTF32", "memPoolSize", "skipInference", "builderOptimizationLevel", "profilingVerbosity"}
NEW = BUILDING | TIMING | {"dumpRawBindingsToFile"}
OLD = {"fp16", "int8", "noTF32", "workspace", "buildOnly", "profilingVerbosity"} | TIMING
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


def names(words):
    return [re.match(r"--(\w+)", word)[1] for word in words]


@pytest.mark.parametrize("version", KNOWN, ids=lambda version: ".".join(map(str, version)))
@pytest.mark.parametrize("words", [lambda version: timing_flags(version, 100, 2.0), layer_flags, infer_flags])
def test_no_version_is_asked_to_time_or_infer_with_an_option_it_does_not_know(version, words):
    asked = names(words(version))
    assert set(asked) <= KNOWN[version] and len(asked) == len(set(asked))
    assert not any("." in word or " " in word for word in words(version))  # 8.2 reads whole numbers only


@pytest.mark.parametrize(
    ("version", "percentiles", "ways"),
    [((8, 2), "90", True), ((8, 4), "90", True), ((8, 5), "50,90,99", True), ((8, 6), "50,90,99", True),
     ((10, 3), "50,90,99", True), ((10, 16), "50,90,99", True), ((11, 0), "50,90,99", False), ((11, 1), "50,90,99", False)],
)  # fmt: skip
def test_a_timed_block_is_so_many_queries_after_a_warm_up_by_graph_and_without_copies(version, percentiles, ways):
    words = timing_flags(version, 300, 2.5)
    assert words[:3] == ["--iterations=300", "--duration=0", "--warmUp=2500"]
    assert ({"--noDataTransfers", "--useSpinWait", "--useCudaGraph"} <= set(words)) == ways  # in 11 they are the defaults
    assert f"--percentile={percentiles}" in words  # before 8.5 one number


def test_layers_are_timed_apart_and_outputs_had_byte_for_byte_where_they_can():
    assert "--dumpProfile" in layer_flags((8, 2)) and "--dumpProfile" not in timing_flags((8, 2), 10, 1)
    assert [raw_bindings(version) for version in ((8, 2), (8, 5), (8, 6), (11, 0))] == [False, False, True, True]
    assert "--dumpRawBindingsToFile" not in infer_flags((8, 5)) and "--dumpRawBindingsToFile" in infer_flags((10, 3))


@pytest.mark.parametrize(("queries", "warm_up_s"), [(0, 1), (-3, 1), (10, -1), (10, float("nan"))])
def test_a_block_of_no_queries_is_refused(queries, warm_up_s):
    with pytest.raises(InputError, match="no such block"):
        timing_flags((8, 6), queries, warm_up_s)


@pytest.mark.parametrize("words", [lambda version: timing_flags(version, 9, 1), layer_flags, infer_flags])
def test_no_verb_guesses_the_options_of_an_unknown_version(words):
    for version in ((8, 0), (8, 3), (9, 3), (12, 0)):
        with pytest.raises(InputError, match="not known") as refused:
            words(version)
        assert refused.value.fix == "known: 8.2, 8.4 to 8.6, 10.x and 11.x"


@pytest.mark.parametrize(("version", "known"), [((10, 20), (10, 16)), ((11, 7), (11, 1))])
def test_a_newer_minor_version_is_taken_as_the_newest_known_and_this_is_said(version, known):
    taken, said = taken_as(version)
    assert taken == known and f"TensorRT {version[0]}.{version[1]} is newer" in said and f"of {known[0]}.{known[1]}" in said
    assert timing_flags(version, 9, 1) == timing_flags(known, 9, 1) and build_flags(version, "int8") == build_flags(known, "int8")
    assert taken_as(known) == (known, None)


@pytest.mark.parametrize(
    ("text", "version"),
    [("8201", (8, 2, 1)), ("v8201", (8, 2, 1)), ("8602", (8, 6, 2)), ("100300", (10, 3, 0)), ("101303 [b9]", (10, 13, 3, 9)),
     ("v110000 [b114]", (11, 0, 0, 114)), ("10.3.0.30-1+cuda12.5", (10, 3, 0, 30)), ("8.5.2-1+cuda11.4", (8, 5, 2)),
     ("10.16.2.10", (10, 16, 2, 10)), (" 8.6.2.3\n", (8, 6, 2, 3))],
)  # fmt: skip
def test_a_version_is_read_from_what_tools_and_packages_say(text, version):
    assert parse_version(text) == version and version_of(text) == version[:2]


@pytest.mark.parametrize("text", ["ten", "8", "8.x", "", "820", "8201x", "1.2.3.4.5", "10.3.", "-8.2", "v"])
def test_what_is_no_version_is_refused(text):
    with pytest.raises(InputError, match="not a version"):
        parse_version(text)

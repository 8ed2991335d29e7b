"""The fake is stricter than trtexec, and takes every word edgekd says to that version and no other's."""

import subprocess

import onnx
import pytest
import tiny_models as TINY
import trtexec
import trtexec_model
import trtexec_options

from edgekd.targets.tensorrt.flags import build_flags, infer_flags, layer_flags, timing_flags

EVERY = tuple(trtexec.VERSIONS.values())


def errors(words, version):
    return trtexec_options.parse(words, version)[1]


@pytest.mark.parametrize("version", EVERY, ids=trtexec.VERSIONS)
def test_it_takes_every_word_edgekd_says_to_that_version(version):
    release = version[:2]
    for precision in ("fp32", "fp16", "int8", "int8+fp16"):
        files = ["--onnx=m.onnx", "--saveEngine=e.plan", "--timingCacheFile=t.cache"]
        assert errors([*files, *build_flags(release, precision)], version) == []
    assert errors(["--loadEngine=e", "--exportTimes=t.json", *timing_flags(release, 100, 2.0, 0.5)], version) == []
    assert errors(["--loadEngine=e", "--exportLayerInfo=l", "--exportProfile=p", *layer_flags(release)], version) == []
    assert errors(["--loadEngine=e", "--loadInputs=input:i.bin", "--exportOutput=o", *infer_flags(release)], version) == []


WRONG = {
    "unknown": (["--loadEngine=e", "--fast"], "Unknown option: --fast "),
    "doubled": (["--loadEngine=e", "--noDataTransfers", "--noDataTransfers"], "Unknown option: --noDataTransfers "),
    "a flag with a value": (["--loadEngine=e", "--noDataTransfers=0"], "Unknown option: --noDataTransfers 0"),
    "no number": (["--loadEngine=e", "--iterations=many"], "stoi"),
    "a colon in a path": (["--loadEngine=a:b"], "Invalid value for --loadEngine: a:b"),
    "no model": (["--noDataTransfers"], "Model missing or format not recognized"),
    "load and save": (["--loadEngine=e", "--saveEngine=f"], "Incompatible load and save engine options selected"),
    "a builder's word for an engine": (["--loadEngine=e", "--profilingVerbosity=detailed"], "A loaded engine takes no"),
}


@pytest.mark.parametrize("version", EVERY, ids=trtexec.VERSIONS)
@pytest.mark.parametrize("wrong", WRONG)
def test_a_word_it_may_not_be_told_is_fatal(version, wrong):
    words, said = WRONG[wrong]
    assert errors(words, version)[0].startswith(said)


# From samples/common/sampleOptions.cpp of NVIDIA/TensorRT: which of the nine know an option.
TEN = "10.0 10.3 10.13 10.16"
EIGHT = "8.2 8.4 8.5 8.6"
KNOWN = {
    "workspace": EIGHT,
    "buildOnly": EIGHT,
    "memPoolSize": f"8.4 8.5 8.6 {TEN} 11",
    "skipInference": f"8.6 {TEN} 11",
    "builderOptimizationLevel": f"8.6 {TEN} 11",
    "stronglyTyped": f"{TEN} 11",
    "dumpRawBindingsToFile": f"8.6 {TEN} 11",
    "int8": f"{EIGHT} {TEN}",
    "fp16": f"{EIGHT} {TEN}",
    "noTF32": f"{EIGHT} {TEN} 11",
    "useCudaGraph": f"{EIGHT} {TEN} 11",
    "noCudaGraph": "11",
}


@pytest.mark.parametrize("option", KNOWN)
def test_options_come_and_go_with_the_versions_that_have_them(option):
    having = [name for name, version in trtexec.VERSIONS.items() if option in trtexec_options.options_of(version)]
    assert having == KNOWN[option].split()


@pytest.mark.parametrize(
    ("words", "since"), [("--percentile=50,90", (8, 5)), ("--warmUp=0.5", (8, 4)), ("--duration=1.5", (8, 4))]
)
def test_values_are_of_the_kinds_each_version_reads(words, since):
    taking = [version for version in EVERY if not errors(["--loadEngine=e", words], version)]
    assert taking == [version for version in EVERY if version >= since]


def test_a_strongly_typed_file_that_mixes_types_without_a_cast_is_refused(tmp_path):
    path = TINY.in_half(TINY.float_model(tmp_path / "f.onnx", batch=1, opset=13), tmp_path / "h.onnx")
    assert trtexec_model.accepted(str(path), (11, 0, 0), {})
    model = onnx.load(str(path))
    model.graph.node[1].input[0] = "input"  # past its Cast: float32 meets float16 weights
    onnx.save(model, str(path))
    with pytest.raises(trtexec_model.Refused) as refused:
        trtexec_model.accepted(str(path), (11, 0, 0), {})
    assert "types of the file" in refused.value.text


@pytest.mark.parametrize(("version", "number"), [("8.2", "v8201]"), ("10.13", "v101303] [b9]")])
def test_an_unknown_option_ends_with_the_help_and_failed(tmp_path, version, number):
    program = trtexec.install(tmp_path / "a root", version)
    done = subprocess.run([program, "--loadEngine=e", "--fast"], capture_output=True, text=True, check=False, timeout=60)
    lines = done.stdout.splitlines()
    assert done.returncode == 1 and "[E] Unknown option: --fast" in done.stderr and "--onnx=<file>" in done.stdout
    assert lines[0].startswith("&&&& RUNNING TensorRT.trtexec") and number in lines[0] and "&&&& FAILED" in lines[-1]

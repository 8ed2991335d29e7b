"""The fake is stricter than trtexec, and takes every word edgekd says to that version and no other's."""

import subprocess

import pytest
import trtexec
import trtexec_options

from edgekd.targets.tensorrt import build_flags, infer_flags, layer_flags, timing_flags

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


# From samples/common/sampleOptions.cpp of NVIDIA/TensorRT: which of the six know an option.
KNOWN = {
    "workspace": "8.2 8.5 8.6", "buildOnly": "8.2 8.5 8.6", "memPoolSize": "8.5 8.6 10.3 10.13 11",
    "skipInference": "8.6 10.3 10.13 11", "builderOptimizationLevel": "8.6 10.3 10.13 11", "stronglyTyped": "10.3 10.13 11",
    "dumpRawBindingsToFile": "8.6 10.3 10.13 11", "int8": "8.2 8.5 8.6 10.3 10.13", "fp16": "8.2 8.5 8.6 10.3 10.13",
    "noTF32": "8.2 8.5 8.6 10.3 10.13 11", "useCudaGraph": "8.2 8.5 8.6 10.3 10.13 11", "noCudaGraph": "11",
}  # fmt: skip


@pytest.mark.parametrize("option", KNOWN)
def test_options_come_and_go_with_the_versions_that_have_them(option):
    having = [name for name, version in trtexec.VERSIONS.items() if option in trtexec_options.options_of(version)]
    assert having == KNOWN[option].split()


@pytest.mark.parametrize(("version", "number"), [("8.2", "v8201]"), ("10.13", "v101303] [b9]")])
def test_an_unknown_option_ends_with_the_help_and_failed(tmp_path, version, number):
    program = trtexec.install(tmp_path / "a root", version)
    done = subprocess.run([program, "--loadEngine=e", "--fast"], capture_output=True, text=True, check=False, timeout=60)
    lines = done.stdout.splitlines()
    assert done.returncode == 1 and "[E] Unknown option: --fast" in done.stderr and "--onnx=<file>" in done.stdout
    assert lines[0].startswith("&&&& RUNNING TensorRT.trtexec") and number in lines[0] and "&&&& FAILED" in lines[-1]

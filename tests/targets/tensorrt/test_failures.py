"""Every failure of every version leads to the right kind of error, with its own line and something to do."""

import pytest
import trtexec_files as FILES

from edgekd.core import DeviceError, DeviceMemoryError, EnvironmentProblem, InputError
from edgekd.targets.tensorrt.failures import failure_of, judged

ENGINE = b"ftrt" + bytes(60)
HEAD = "&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec --loadEngine=a\n"
PASS = "&&&& PASSED TensorRT.trtexec [TensorRT v100300] # trtexec --loadEngine=a\n"
KINDS = {
    "disk_full": (DeviceError, "could not be written", "Saving engine to file failed.", "df -h"),
    "int8_flag_missing": (InputError, "int8 was not asked for", "int8 is not configured in the builder", "precision: int8"),
    "no_engine": (DeviceError, "cannot open the engine", "Error opening engine file: absent.engine", "build it again"),
    "no_model": (DeviceError, "cannot read the model's file", "absent.onnx", "Run the same command again"),
    "oom": (DeviceMemoryError, "out of memory", "emory", "smaller workspace"),
    "other_device_engine": (DeviceError, "for another GPU (compute capability", "generated on an incompatible device",
                            "build it again"),
    "other_version_engine": (DeviceError, "by another TensorRT (its format is", "Version tag does not match", "build it again"),
    "truncated_engine": (DeviceError, "no engine, or a file cut short", "Magic tag does not match", "is the disk full?"),
    "unknown_flag": (DeviceError, "does not know an option it was given: --", "Unknown option: --", "edgekd doctor"),
    "unsupported_op": (InputError, "does not know the operator FancyCustomOp", "FancyCustomOp", "newer JetPack"),
    "zero_point": (InputError, "quantized asymmetrically", "symmetric quantization", "the file for TensorRT"),
}  # fmt: skip


@pytest.mark.parametrize("path", FILES.FAILED, ids=lambda path: path.stem)
def test_a_failed_run_of_any_version_is_told_by_its_cause_with_its_line_and_a_way_on(path):
    kind, what, seen, fix = KINDS[path.stem.removeprefix("err_").partition("_")[2].removesuffix("_rc1")]
    text = path.read_text("utf-8")
    with pytest.raises(kind) as failed:
        judged(text, 1, "jetson: build", engine=b"")
    error = failed.value
    assert type(error) is kind and error.where == "jetson: build"
    assert what in error.what and seen in error.seen and fix in error.fix
    assert error.seen in " ".join(text.split())  # its own words
    assert "\n" not in error.what + error.seen + error.fix


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_failure_is_there_in_two_versions_at_least(kind):
    assert len(FILES.failed_as(kind)) >= 2


@pytest.mark.parametrize("path", FILES.PASSED, ids=lambda path: path.stem)
def test_a_run_that_passed_is_none_if_its_status_its_verdict_or_its_file_says_otherwise(path):
    text, where = path.read_text("utf-8"), "jetson"
    if "strongly_typed" not in path.stem:
        building = ENGINE if "Engine built in" in text else None
        assert judged(text, 0, where, engine=building).passed
    for status in (1, 2, None, -9, 137, 255):
        with pytest.raises(DeviceError):
            judged(text, status, where, engine=ENGINE)
    for cut in (text[: text.index("&&&& PASSED")], text.replace("&&&& PASSED", "&&&& FAILED"), ""):
        with pytest.raises(DeviceError):
            judged(cut, 0, where, engine=ENGINE)
    for head in (b"", b"ftr", b"ftrt", b"\x7fELF" + bytes(60)):
        with pytest.raises(DeviceError, match="engine"):
            judged(text, 0, where, engine=head)


@pytest.mark.parametrize(
    ("status", "what", "fix"),
    [
        (137, "killed, as the kernel does when memory runs out", "dmesg"), (-9, "killed, as the kernel", "dmesg"),
        (134, "crashed (SIGABRT)", "its log"), (139, "crashed (SIGSEGV)", "its log"), (-11, "crashed (SIGSEGV)", "its log"),
        (143, "ended by SIGTERM", "again"), (-2, "ended by SIGINT", "again"), (159, "ended by", "again"),
        (255, "connection to the device broke", "again"), (None, "did not end in its time", "what else runs"),
        (124, "did not end in its time", "what else runs"), (0, "without saying PASSED", "again"),
        (3, "failed with status 3", "its log"),
    ],
)  # fmt: skip
def test_a_process_that_gave_no_verdict_is_told_by_its_status_with_its_last_lines(status, what, fix):
    text = HEAD + "[11/22/2026-05:50:55] [I] one\n[11/22/2026-05:50:55] [I] two\n"
    error = failure_of(text, status, "jetson")
    kind = DeviceMemoryError if what.startswith("killed") else DeviceError
    assert type(error) is kind and error.seen == "one | two"
    assert what in error.what and fix in error.fix


@pytest.mark.parametrize("status", [126, 127])
def test_a_device_without_trtexec_lacks_a_package(status):
    error = failure_of("bash: /usr/src/tensorrt/bin/trtexec: No such file or directory\n", status, "jetson")
    assert type(error) is EnvironmentProblem and "libnvinfer-bin" in error.fix and "No such file" in error.seen


def test_a_text_nobody_knows_is_shown_as_it_is():
    rows = "".join(f"[11/22/2026-05:50:55] [E] strange thing {number}\n" for number in range(5))
    error = failure_of(HEAD + rows, 1, "jetson")
    assert (error.what, error.seen) == ("trtexec failed with status 1", "strange thing 2 | strange thing 3 | strange thing 4")
    assert failure_of("", 0, "jetson").what == "trtexec said nothing"


@pytest.mark.parametrize(
    ("line", "kind", "what"),
    [
        ("The engine plan file is not compatible with this version of TensorRT, expecting library version 10.3.0.30 got 8.6.2.3, "
         "please rebuild.", DeviceError, "built by TensorRT 8.6.2.3; this is 10.3.0.30"),
        ("Error Code 1: Serialization (Version tag does not match.)", DeviceError, "by another TensorRT"),
        ("Error Code 2: OutOfMemory (no further information)", DeviceMemoryError, "out of memory"),
        ("terminate called after throwing an instance of 'std::bad_alloc'", DeviceMemoryError, "out of memory"),
        ("NvMapMemAllocInternalTagged: 1075072515 error 12", DeviceMemoryError, "out of memory"),
        ("Error Code 10: Internal Error (Could not find any implementation for node Conv_0 + Relu_1.)", DeviceError,
         "no way to run node Conv_0 + Relu_1"),
        ("Unsupported ONNX data type: DOUBLE (11)", InputError, "a data type"),
        ("only activation types allowed as input to this layer.", InputError, "biases are quantized"),
        ("Static model does not take explicit shapes since the shape of inference tensors", InputError, "shapes were given"),
        ("Cannot create DLA engine, 0 not available", DeviceError, "no DLA"),
        ("Cuda failure: cudaErrorInsufficientDriver", EnvironmentProblem, "CUDA does not start"),
        ("CUDA initialization failure with error: 100. no CUDA-capable device is detected", EnvironmentProblem, "CUDA"),
        ("Cuda failure: no CUDA-capable device is detected", EnvironmentProblem, "GPU of the device cannot be opened"),
        ("NvRmMemInitNvmap failed with Permission denied", EnvironmentProblem, "GPU of the device cannot be opened"),
        ("could not open file /dev/nvhost-ctrl: Permission denied", EnvironmentProblem, "GPU of the device cannot be opened"),
        ("trtexec: error while loading shared libraries: libnvinfer.so.8: cannot open shared object file", EnvironmentProblem,
         "lacks a library on the device: libnvinfer.so.8"),
        ("stoi", DeviceError, "cannot read a number"),
        ("Uncaught exception detected: Unexpected file size for input file: in.bin. Note: Input binding size is: 12", DeviceError,
         "another size"),
        ("Invalid tensor names found in --loadInputs flag.", DeviceError, "other inputs"),
        ("Engine deserialization failed", DeviceError, "no engine could be made or loaded"),
        ("Parsing model failed", InputError, "cannot read the model"),
    ],
)  # fmt: skip
def test_every_text_of_the_reports_has_its_meaning(line, kind, what):
    error = failure_of(f"{HEAD}[11/22/2026-05:50:55] [E] {line}\n", 1, "jetson")
    assert type(error) is kind and what in error.what and error.seen == line and error.fix


def test_a_warning_of_a_build_that_went_on_is_not_taken_for_its_end():
    text = FILES.failed_as("zero_point")[0].read_text()
    early = "[11/22/2026-05:50:52] [W] [TRT] Requested amount of GPU memory (99 bytes) could not be allocated.\n"
    assert "asymmetrically" in failure_of(text.replace("\n", "\n" + early, 1), 1, "jetson").what
    assert "99 bytes" in failure_of(HEAD + early, 1, "jetson").what  # but it is, where no error says more


def test_a_cause_that_lost_its_place_among_the_other_streams_lines_is_found():
    text = FILES.text("retyped/err_10.3.0_zero_point_rc1.log")
    (cause,) = (row for row in text.split("\n") if "shiftIsAllZeros" in row)
    info = "[11/22/2026-05:50:55] [I] Start parsing network model.\n"
    without = text.replace(cause + "\n", "")
    assert "cannot read the model" in failure_of(without, 1, "jetson").what
    assert "asymmetrically" in failure_of(without.replace(info, info + cause + "\n"), 1, "jetson").what


def test_a_plain_message_is_no_cause():  # TensorRT says this of every operator it then finds as a plugin
    line = "[I] [TRT] No importer registered for op: InstanceNormalization. Attempting to import as plugin.\n"
    assert "killed" in failure_of(HEAD + line, 137, "jetson").what


def test_an_engine_of_another_module_is_refused_though_it_runs():
    line = "[W] [TRT] Using an engine plan file across different models of devices is not recommended and is likely to affect\n"
    with pytest.raises(DeviceError, match="another module") as refused:
        judged(HEAD + line + PASS, 0, "jetson")
    assert "different models" in refused.value.seen and "build it again" in refused.value.fix
    assert judged(HEAD + PASS, 0, "jetson").passed


def test_int8_of_a_file_without_scales_is_refused_though_it_builds():
    line = "Calibrator is not being used. Users must provide dynamic range for all tensors that are not Int32 or Bool."
    with pytest.raises(InputError, match="made its scales up") as refused:
        judged(f"{HEAD}[11/22/2026-05:50:52] [W] [TRT] {line}\n{PASS}", 0, "jetson", engine=ENGINE)
    assert refused.value.seen == line and "quantized file" in refused.value.fix
    for mode in ("precision", "quantization"):  # up to 8.6, and since
        own = f"[W] [TRT] Calibrator won't be used in explicit {mode} mode. Please insert Quantize/Dequantize layers\n"
        assert judged(HEAD + own + PASS, 0, "jetson", engine=ENGINE).own_scales
        assert judged(f"{HEAD}{own}[W] [TRT] {line}\n{PASS}", 0, "jetson", engine=ENGINE).passed


def test_options_that_a_strongly_typed_build_ignored_are_refused():
    text = FILES.text("retyped/err_10.3.0_precision_flags_with_strongly_typed_rc0.log")
    with pytest.raises(InputError, match="strongly typed build ignores") as refused:
        judged(text, 0, "jetson", engine=ENGINE)
    assert "setting fp16 mode is not allowed" in refused.value.seen


def test_a_free_dimension_that_became_one_is_refused():
    line = (
        "[W] Dynamic dimensions required for input: x, but no shapes were provided. Automatically overriding shape to: 1x3x8x8\n"
    )
    with pytest.raises(InputError, match="free dimension"):
        judged(HEAD + line + PASS, 0, "jetson", engine=ENGINE)


def test_a_layer_without_a_kernel_is_want_of_memory_only_where_ways_to_run_it_were_passed_over_for_it():
    skipped = "[11/22/2026-05:50:54] [W] [TRT] Skipping tactic 3 due to insuficient memory on requested size of 538 detected.\n"
    no_kernel = "[11/22/2026-05:50:55] [E] Error[10]: [a.cpp] (Could not find any implementation for node Conv_0.)\n"
    short, other = failure_of(HEAD + skipped + no_kernel, 1, "jetson"), failure_of(HEAD + no_kernel, 1, "jetson")
    assert (type(short), type(other)) == (DeviceMemoryError, DeviceError)
    assert "insuficient memory" in short.seen
    assert type(failure_of(HEAD + skipped, 1, "jetson")) is DeviceError  # a warning that a build went on after
    assert type(failure_of(HEAD, 137, "jetson")) is DeviceMemoryError

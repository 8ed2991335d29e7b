"""What trtexec of every version printed is read: verdict, figures, warnings; a pass is never read into it."""

import pytest
import trtexec_files as FILES

from edgekd.targets.tensorrt.log import read_log

REAL = "mobilenetv2_qat_int8_b64_trt8.2.5.log"
SHORT = "&&&& RUNNING TensorRT.trtexec [TensorRT v8502] # trtexec --loadEngine=a\n"


@pytest.mark.parametrize("path", FILES.LOGS, ids=lambda path: path.stem)
def test_every_log_tells_its_version_and_its_verdict(path):
    log = read_log(path.read_text("utf-8"))
    said = path.stem.removeprefix("err_").partition("_")[0] if "trt8.2.5" not in path.stem else "8.2.5"
    assert log.version[:3] == tuple(map(int, said.split(".")))
    assert (log.passed, log.failed) == (path in FILES.PASSED, path in FILES.FAILED)
    assert bool(log.errors) == (path in FILES.FAILED)


@pytest.mark.parametrize("version", FILES.VERSIONS)
def test_the_walltime_and_whose_scales_of_every_version_are_read(version):
    run, build = read_log(FILES.text("run.log", version)), read_log(FILES.text("build.log", version))
    assert run.walltime_s == pytest.approx(1.0, abs=0.01) and not run.concerns and build.walltime_s is None
    assert build.own_scales == version.startswith("8")  # the newer ones here are strongly typed


def test_a_real_log_by_hand():
    log = read_log(FILES.text(REAL))
    assert (log.version, log.walltime_s) == ((8, 2, 5), 3.0073)
    assert (log.peak_cpu_mib, log.peak_gpu_mib) == (11, 184) and log.own_scales
    assert set(log.concerns) == {"enqueue-bound", "transfer-bound"}


@pytest.mark.parametrize("version", ["8.5.2", "8.6.2", "10.3.0", "10.13.3", "11.0.0"])  # 8.2 does not judge itself
def test_an_unstable_run_says_so_with_its_coefficient_of_variance(version):
    assert "coefficient of variance = " in read_log(FILES.text("run_unstable.log", version)).concerns["unstable"]


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("no-cuda-graph", "The built TensorRT engine contains operations that are not permitted under CUDA graph capture mode."),
        ("no-cuda-graph", "The specified --useCudaGraph flag has been ignored. The inference will be launched without"),
        ("no-cuda-graph", "CUDA graph capture failed. The inference will be launched without using CUDA graph launch."),
        ("other-module", "[TRT] Using an engine plan file across different models of devices is not recommended and is likely to "
                         "affect performance or even cause errors."),
        ("dynamic-shape", "Dynamic dimensions required for input: x, but no shapes were provided. Automatically overriding shape "
                          "to: 1x3x32x32"),
        ("typed-by-the-file", "Invalid usage, setting fp16 mode is not allowed if graph is strongly typed. Disabling kFP16."),
        ("no-int8-units", "Int8 support requested on hardware without native Int8 support, performance will be"),
        ("made-up-scales", "[TRT] Calibrator is not being used. Users must provide dynamic range for all tensors."),
        ("made-up-scales", "[TRT] Missing scale and zero-point for tensor y, expect fall back to non-int8"),
        ("weakly-typed", "Weakly-typed networks have been deprecated in TensorRT. Use --stronglyTyped"),
        ("layers-watched", "The network timing report will not be accurate due to extra synchronizations when"),
    ],
)  # fmt: skip
def test_a_warning_that_matters_is_kept_with_its_line(code, line):
    log = read_log(f"{SHORT}[11/22/2026-05:50:52] [W] {line}\n")
    assert set(log.concerns) == {code} and log.concerns[code] == line.removeprefix("[TRT] ")


@pytest.mark.parametrize(("text", "seconds"), [("1e-05", 1e-05), ("3", 3), ("nan", None), ("1.2.3", None), ("-1", None)])
def test_a_walltime_is_a_number_or_not_told(text, seconds):
    assert read_log(f"[11/22/2026-05:50:52] [I] Total Host Walltime: {text} s\n").walltime_s == seconds


def test_lines_of_both_streams_may_come_in_any_order():
    rows = FILES.text("run_unstable.log", "10.3.0").split("\n")
    warned = [row for row in rows if "[W]" in row]
    mixed = read_log("\n".join(warned + [row for row in rows if row not in warned]))
    plain = read_log("\n".join(rows))
    assert (mixed.concerns, mixed.walltime_s, mixed.passed) == (plain.concerns, plain.walltime_s, True)


def test_a_message_of_several_lines_is_one_and_a_line_of_anyone_else_has_no_level():
    log = read_log("Could not open file a.onnx\n" + FILES.failed_as("unsupported_op")[0].read_text())
    assert log.lines[0].level == "" and any("ERROR: onnxOpCheckers" in one and "\n[8] No importer" in one for one in log.errors)


def test_tensorrts_own_order_of_prefixes_is_known():
    assert read_log(f"{SHORT}[TRT] [E] broken\n").errors == ("broken",)


@pytest.mark.parametrize("path", FILES.PASSED, ids=lambda path: path.stem)
def test_a_log_cut_before_its_last_line_has_not_passed(path):
    text = path.read_text("utf-8")
    cut = text[: text.index("&&&& PASSED") + len("&&&& PASSED TensorRT.trtexec [TensorRT v")]
    assert not read_log(cut).passed and not read_log(cut).failed


@pytest.mark.parametrize(
    "text",
    [
        "", "\n", SHORT, SHORT + "&&&& PASSED\n", SHORT + "all &&&& PASSED TensorRT.trtexec [TensorRT v8502] # trtexec",
        SHORT + "[11/22/2026-05:50:52] [I] &&&& PASSED TensorRT.trtexec [TensorRT v8502] # trtexec",
        "&&&& RUNNING TensorRT.trtexec [TensorRT v8502] # trtexec --onnx=&&&& PASSED TensorRT.trtexec [TensorRT v8502] # a",
        "&&&& PASSED TensorRT.trtexec [TensorRT v8502] # trtexec\n" + SHORT,
        "&&&& PASSED TensorRT.trtexec [TensorRT v8502] # trtexec\n&&&& FAILED TensorRT.trtexec [TensorRT v8502] # trtexec\n",
        "&&&& FAILED TensorRT.trtexec [TensorRT v8502] # trtexec\n&&&& PASSED TensorRT.trtexec [TensorRT v8502] # trtexec\n",
    ],
)  # fmt: skip
def test_nothing_but_a_last_line_of_its_own_is_a_pass(text):
    assert not read_log(text).passed

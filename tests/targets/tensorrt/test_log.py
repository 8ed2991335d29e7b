"""What trtexec of every version printed is read: verdict, figures, warnings; a pass is never read into it."""

import math

import pytest
import trtexec_files as FILES

from edgekd.targets.tensorrt import read_log

REAL = "mobilenetv2_qat_int8_b64_trt8.2.5.log"
SHORT = "&&&& RUNNING TensorRT.trtexec [TensorRT v8502] # trtexec --loadEngine=a\n"


@pytest.mark.parametrize("path", FILES.LOGS, ids=lambda path: path.stem)
def test_every_log_tells_its_version_its_verdict_and_its_command(path):
    log = read_log(path.read_text("utf-8"))
    said = path.stem.removeprefix("err_").partition("_")[0] if "trt8.2.5" not in path.stem else "8.2.5"
    assert log.version[:3] == tuple(map(int, said.split(".")))
    assert (log.passed, log.failed) == (path in FILES.PASSED, path in FILES.FAILED)
    assert log.words[0].endswith("trtexec") and any(word.startswith(("--onnx=", "--loadEngine=")) for word in log.words)
    assert bool(log.errors) == (path in FILES.FAILED)


@pytest.mark.parametrize("version", FILES.VERSIONS)
def test_the_summary_of_every_version_is_read(version):
    log = read_log(FILES.text("run.log", version))
    assert set(log.series) == {"latency", "enqueue", "h2d", "compute", "d2h"} | ({"end_to_end"} if version == "8.2.1" else set())
    compute = log.series["compute"]
    assert 2.39 < compute.min < compute.median < compute.percentiles[90] < compute.max < 2.8 and 2.4 < compute.mean < 2.5
    assert set(compute.percentiles) == ({90} if version == "8.2.1" else {50, 90, 99})
    assert log.series["h2d"].max == 0 and log.figures["throughput_qps"] == pytest.approx(409.2, abs=0.3)
    assert log.figures["queries"] == 409 and not log.concerns


@pytest.mark.parametrize("version", FILES.VERSIONS)
def test_a_build_tells_how_long_it_took(version):
    log = read_log(FILES.text("build.log", version))
    assert log.figures["built_s"] == 3.00041 and not log.series
    assert ("engine_mib" in log.figures) == version.startswith("1")  # from 10 on
    assert log.own_scales == version.startswith("8")  # the newer ones here are strongly typed


def test_a_real_log_by_hand():
    log = read_log(FILES.text(REAL))
    assert log.version == (8, 2, 5) and log.words[:3] == ("trtexec", "--onnx=models/mobilenetv2_qat.onnx", "--int8")
    compute = log.series["compute"]
    assert (compute.min, compute.max, compute.mean, compute.median) == (1.578, 2.49139, 1.61667, 1.61377)
    assert compute.percentiles == {99: 1.69678}
    assert log.figures == {"built_s": 25.2523, "engine_mib": 2, "throughput_qps": 324.544, "walltime_s": 3.0073,
                           "compute_s": 1.57787, "queries": 976}  # fmt: skip
    assert (log.peak_cpu_mib, log.peak_gpu_mib) == (11, 184) and log.own_scales
    assert set(log.concerns) == {"enqueue-bound", "transfer-bound"} and len(log.warnings) == 7


@pytest.mark.parametrize("version", ["8.5.2", "8.6.2", "10.3.0", "10.13.3", "11.0.0"])  # 8.2 does not judge itself
def test_an_unstable_run_says_so_with_its_coefficient_of_variance(version):
    log = read_log(FILES.text("run_unstable.log", version))
    assert "unstable" in log.concerns and 6 < log.figures["variance_percent"] < 29


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


def test_numbers_of_every_form_are_read():
    line = "GPU Compute Time: min = 1e-05 ms, max = inf ms, mean = nan ms, median = 1.5e+03 ms, percentile(99.5%) = 2 ms"
    series = read_log(f"[11/22/2026-05:50:52] [I] {line}\n").series["compute"]
    assert (series.min, series.max, series.median, series.percentiles) == (1e-05, math.inf, 1500, {99.5: 2})
    assert math.isnan(series.mean)


def test_lines_of_both_streams_may_come_in_any_order():
    rows = FILES.text("run_unstable.log", "10.3.0").split("\n")
    warned = [row for row in rows if "[W]" in row]
    mixed = read_log("\n".join(warned + [row for row in rows if row not in warned]))
    plain = read_log("\n".join(rows))
    assert (mixed.concerns, mixed.series, mixed.figures, mixed.passed) == (plain.concerns, plain.series, plain.figures, True)


def test_a_message_of_several_lines_is_one_and_a_line_of_anyone_else_has_no_level():
    log = read_log("Could not open file a.onnx\n" + FILES.failed_as("unsupported_op")[0].read_text())
    assert log.lines[0].level == "" and any("ERROR: onnxOpCheckers" in one and "\n[8] No importer" in one for one in log.errors)


def test_tensorrts_own_order_of_prefixes_is_known_and_words_with_a_lone_quote_too():
    log = read_log("&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec --onnx=it's.onnx\n[TRT] [E] broken\n")
    assert log.errors == ("broken",) and log.words == ("trtexec", "--onnx=it's.onnx")


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

"""TensorRT by its Python API, on stand-ins that have each version's published names and no others. No TensorRT ran here."""

import json
import os
import sys
from types import SimpleNamespace

import fake_gpu
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgekd.device import Problem, onnxrt, tensorrt, tensorrt_build, tensorrt_log
from edgekd.device.files import Files
from edgekd.device.integrity import sha256_of

IMAGES = np.random.default_rng(3).normal(size=(7, 3, 8, 8)).astype(np.float32)
PLAN = {"rounds": 2, "queries": 3, "block": 3, "discard": 2, "round_s": 0.0, "budget_s": 5.0}
WEAK, STRONG = ["--int8", "--fp16", "--memPoolSize=workspace:64"], ["--stronglyTyped", "--memPoolSize=workspace:64"]
WORDS = {
    "8.5.2": WEAK, "8.6.1": [*WEAK, "--skipInference", "--builderOptimizationLevel=3"], "10.0.1": WEAK, "10.3.0": WEAK,
    "10.13.3": STRONG, "10.16.0": STRONG, "11.1.0": ["--memPoolSize=workspace:64", "--profilingVerbosity=detailed"],
}  # fmt: skip


@pytest.fixture
def device(gpu, tmp_path, monkeypatch):
    """A device of one version, in this process; ``start`` it first."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(str(fake_gpu.MODULE))

    def start(version="10.3.0", **settings):
        for name, value in gpu.environment(version, **settings).items():
            monkeypatch.setenv(name, value)
        for name in [one for one in sys.modules if one.partition(".")[0] == "tensorrt"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(tensorrt_log, "_made", [])
        return tensorrt_log.module()

    def described(name):
        return {"path": name, "sha256": sha256_of(work / name)}

    def build(path, words, **changed):
        model = {"onnx": described(path.name), "words": words, "sidecar": {"words": words}, "timing_key": "k", **changed}
        return SimpleNamespace(**tensorrt.build({"models": {"m": model}}, Files(str(work)))["models"]["m"])

    def infer(engine, arrays, **more):
        for index, array in enumerate(arrays):
            np.save(work / f"x{index}.npy", array)
        inputs = [described(f"x{index}.npy") for index in range(len(arrays))]
        done = tensorrt.infer({"engine": engine, "inputs": inputs, **more}, Files(str(work)))
        return [np.load(work / one["path"]) for one in done["outputs"]]

    def timed(engines, example, plan=PLAN):
        np.save(work / "example.npy", example)
        request = {"models": engines, "example": described("example.npy"), "plan": plan}
        return tensorrt.timed(request, Files(str(work)), lambda: "sampled")

    yield SimpleNamespace(start=start, work=work, build=build, infer=infer, timed=timed, described=described, gpu=gpu)
    tensorrt_log._made.clear()


def text(device, described):
    return (device.work / described["path"]).read_text()


def reference(path):
    return onnxrt.run(onnxrt.open_session(path), IMAGES)


@pytest.mark.parametrize("version", fake_gpu.VERSIONS)
def test_every_version_builds_and_gives_onnxruntimes_logits_in_order(device, tiny, version):
    device.start(version)
    path = tiny.float_model(device.work / "m.onnx", batch=1)
    built = device.build(path, WORDS[version])
    assert (built.status, built.reused, built.profile) == (0, False, None)
    (logits,) = device.infer(built.engine, [IMAGES])
    assert logits.dtype == np.float32 and np.array_equal(logits, reference(path))
    assert device.gpu.complaints() == []


@pytest.mark.parametrize("version", fake_gpu.VERSIONS)
def test_every_version_times_by_cudas_events(device, tiny, version):
    device.start(version)
    engines = {
        name: device.build(tiny.float_model(device.work / f"{name}.onnx", batch=1), WORDS[version]).engine for name in "ab"
    }
    begun = len(device.gpu.calls())
    done = device.timed(engines, IMAGES[:1])
    assert done["launched"] == "graph" and [done["before"], *done["samples"]] == ["sampled"] * 3
    assert {name: [len(one) for one in rounds] for name, rounds in done["rounds"].items()} == {"a": [3, 3], "b": [3, 3]}
    times = [ms for rounds in done["rounds"].values() for one in rounds for ms in one]
    assert all(ms > 0 for ms in times)
    calls = device.gpu.calls()[begun:]
    queries = 2 * (2 + 11 + 2 * (2 + 3))
    assert calls.count("cudaGraphLaunch") == queries + 2  # each model has one more on its stream than was asked for
    assert calls.count("cudaEventElapsedTime") == queries
    assert device.gpu.complaints() == []


def test_the_log_has_the_form_of_trtexecs_and_its_verdict(device, tiny):
    device.start("10.13.3")
    built = device.build(tiny.float_model(device.work / "m.onnx", batch=1), STRONG)
    lines = text(device, built.log).split("\n")
    assert lines[0] == "&&&& RUNNING edgekd.tensorrt [TensorRT v101303] # --stronglyTyped --memPoolSize=workspace:64"
    assert lines[-2].startswith("&&&& PASSED edgekd.tensorrt [TensorRT v101303]")
    assert any("Engine built in" in line for line in lines) and not any("tactics" in line for line in lines)


def test_the_layers_are_the_inspectors_detailed_account(device, tiny):
    device.start("8.6.1")
    built = device.build(tiny.float_model(device.work / "m.onnx", batch=1), ["--fp16", "--noTF32"])
    told = json.loads(text(device, built.layers))
    assert told["Layers"][0]["LayerType"] and told["Flags"] == ["FP16"]  # and TF32, which is on by itself, switched off


def test_an_engine_is_built_once_and_then_reused_with_its_log(device, tiny):
    device.start()
    path = tiny.float_model(device.work / "m.onnx", batch=1)
    first, second = device.build(path, WEAK), device.build(path, WEAK)
    assert (second.reused, second.engine, second.log) == (True, first.engine, first.log)
    assert not device.build(path, WEAK, sidecar={"words": "others"}).reused


def test_a_timing_cache_of_another_version_is_not_used_and_not_an_error(device, tiny):
    path = tiny.float_model(device.work / "m.onnx", batch=1)
    for version in ("8.6.1", "10.3.0"):  # under one key
        device.start(version)
        assert device.build(path, ["--fp16"], sidecar={"version": version}).status == 0


def test_what_a_build_learned_is_given_to_the_next(device, tiny, monkeypatch):
    device.start()
    given, plan_of = [], tensorrt_build.plan_of
    monkeypatch.setattr(tensorrt_build, "plan_of", lambda *words: given.append(words[-1]) or plan_of(*words))
    path = tiny.float_model(device.work / "m.onnx", batch=1)
    for number in range(2):
        device.build(path, [], sidecar={"number": number})
    assert given[0] == b"" and given[1].endswith(b"learned")


def test_a_timing_cache_that_is_none_is_replaced(device, tiny):
    trt = device.start()
    path = tiny.float_model(device.work / "m.onnx", batch=1)
    plan, learned = tensorrt_build.plan_of(trt, tensorrt_log.logger(trt), path, [], b"cut short")
    assert plan[:4] == b"ftrt" and learned.endswith(b"learned")


def unsupported(path):
    """A convolution-less net with an operator TensorRT has no importer for."""
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 8, 8])
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])
    onnx.save(helper.make_model(helper.make_graph([helper.make_node("Det", ["input"], ["logits"], name="the_odd_one")],
                                                  "g", [image], [out])), str(path))  # fmt: skip
    return path


@pytest.mark.parametrize(("version", "named"), [("8.5.2", "In node 0:"), ("10.3.0", "name: the_odd_one and operator: Det")])
def test_a_parse_failure_names_the_node(device, version, named):
    device.start(version)
    built = device.build(unsupported(device.work / "m.onnx"), ["--fp16"])
    said = text(device, built.log)
    assert (built.engine, built.status) == (None, 1)
    assert named in said and "No importer registered for op: Det" in said and "\n&&&& FAILED edgekd.tensorrt" in said


@pytest.mark.parametrize(("make", "words", "said"), [
    ("int8_model", ["--fp16"], "int8 is not configured"), ("float_model", ["--fp16"], "no optimization profile"),
])  # fmt: skip
def test_what_tensorrt_refuses_to_build_fails_with_its_reason_in_the_log(device, tiny, make, words, said):
    device.start()
    path = getattr(tiny, make)(device.work / "m.onnx", *([127] if make == "int8_model" else []))
    if make == "int8_model":
        model = onnx.load(path)
        for one in (*model.graph.input, *model.graph.output):
            one.type.tensor_type.shape.dim[0].dim_value = 1
        onnx.save(model, path)
    built = device.build(path, words)
    assert (built.engine, built.layers, built.status) == (None, None, 1) and said in text(device, built.log)


def test_a_workspace_larger_than_the_gpu_fails_as_out_of_memory(device, tiny):
    device.start(FAKE_CUDA_MEMORY="1000000")
    built = device.build(tiny.float_model(device.work / "m.onnx", batch=1), WEAK)
    assert built.engine is None and "Requested amount of GPU memory (67108864 bytes)" in text(device, built.log)


@pytest.mark.parametrize(("version", "words", "what"), [
    ("10.3.0", ["--best"], "not told this option"), ("10.3.0", ["--fp16=0"], "not told"),
    ("11.1.0", ["--int8"], "strongly typed"),
    ("10.13.3", ["--stronglyTyped", "--fp16"], "strongly typed"), ("8.6.1", ["--stronglyTyped"], "knows no strongly typed"),
    ("8.5.2", ["--builderOptimizationLevel=3"], "no optimization levels"),
])  # fmt: skip
def test_words_that_mean_nothing_there_are_refused_and_never_ignored(device, tiny, version, words, what):
    device.start(version)
    with pytest.raises(Problem, match=what):
        device.build(tiny.float_model(device.work / "m.onnx", batch=1), words)


@pytest.mark.parametrize(("version", "words", "flags"), [
    ("8.5.2", [], {"EXPLICIT_BATCH"}), ("10.3.0", [], set()), ("10.13.3", ["--stronglyTyped"], {"STRONGLY_TYPED"}),
    ("11.1.0", [], set()),
])  # fmt: skip
def test_network_flags_follow_the_version(device, version, words, flags):
    trt = device.start(version)
    strongly = tensorrt_build.read_words(trt, words)["strongly_typed"]
    known = trt.NetworkDefinitionCreationFlag
    assert tensorrt_build._network_flags(trt, strongly) == sum(1 << int(getattr(known, one)) for one in flags)
    assert strongly == (version == "11.1.0" or bool(words))


def test_float16_in_and_out_is_converted_outside(device):
    device.start()
    path = device.work / "half.onnx"
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT16, [1, 3, 8, 8])
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT16, [1, 192])
    nodes = [helper.make_node("Flatten", ["input"], ["logits"])]
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [image], [out]), ir_version=8,
                                opset_imports=[helper.make_opsetid("", 17)]), str(path))  # fmt: skip
    (logits,) = device.infer(device.build(path, []).engine, [IMAGES])
    assert logits.dtype == np.float32
    assert np.array_equal(logits, IMAGES.reshape(7, -1).astype(np.float16).astype(np.float32))


def dynamic_engine(device, tiny, profile):
    from tensorrt import building

    model = tiny.float_model(device.work / "n.onnx")
    (device.work / "n.plan").write_bytes(building.plan({"profile": profile}, model.read_bytes()))
    return device.described("n.plan")


@pytest.mark.parametrize(("profile", "asked", "ran"), [((1, 2, 4), 3, 3), ((1, 2, 4), 100, 4), ((2, 2, 2), 1, 2)])
def test_an_engine_with_a_profile_runs_in_chunks_it_allows(device, tiny, profile, asked, ran):
    device.start()
    engine = dynamic_engine(device, tiny, profile)
    (logits,) = device.infer(engine, [IMAGES], batch=asked)
    assert np.allclose(logits, reference(device.work / "n.onnx"), atol=1e-6)
    assert device.gpu.calls().count("cudaMemcpyAsync") == 2 * -(-7 // ran)


def test_a_timed_batch_outside_the_profile_is_refused(device, tiny):
    device.start()
    with pytest.raises(Problem, match="takes other batches") as refused:
        device.timed({"m": dynamic_engine(device, tiny, (2, 2, 4))}, IMAGES[:1])
    assert refused.value.seen == "2 to 4 images, not 1"


def test_images_of_another_size_are_refused_with_both_sizes(device, tiny):
    device.start()
    engine = device.build(tiny.float_model(device.work / "m.onnx", batch=1), []).engine
    with pytest.raises(Problem, match="takes other images") as refused:
        device.infer(engine, [np.zeros((1, 3, 9, 9), np.float32)])
    assert refused.value.seen == "[1, 3, 8, 8], not [1, 3, 9, 9]"


def test_models_are_launched_alike_where_one_cannot_be_captured(device, tiny, monkeypatch):
    device.start()
    engines = {"a": device.build(tiny.float_model(device.work / "a.onnx", batch=1), []).engine}
    monkeypatch.setenv("FAKE_TENSORRT_UNCAPTURABLE", "1")
    engines["b"] = device.build(tiny.float_model(device.work / "b.onnx", batch=1), ["--fp16"]).engine
    done = device.timed(engines, IMAGES[:1])
    assert done["launched"] == "enqueue" and "cudaGraphLaunch" not in device.gpu.calls()
    assert [len(one) for one in done["rounds"]["a"]] == [3, 3] and device.gpu.complaints() == []


def test_everything_is_warm_before_the_first_round(device, tiny):
    device.start()
    engine = device.build(tiny.float_model(device.work / "m.onnx", batch=1), []).engine
    device.timed({"m": {**engine, "words": ["--iterations=3", "--warmUp=300"]}}, IMAGES[:1])
    assert device.gpu.calls().count("cudaGraphLaunch") > 2 + 11 + 2 * (2 + 3) + 1


@pytest.mark.parametrize(("built_by", "what", "seen"), [
    ((10, 13, 3), "another version of TensorRT", "built by 10.13.3, here is 10.3.0"),
    ((8, 6, 1), "TensorRT refuses the engine", "Version tag does not match"),  # its header does not tell
])  # fmt: skip
def test_an_engine_of_another_version_is_refused_kindly(device, built_by, what, seen):
    device.start("10.3.0")
    from tensorrt import building

    (device.work / "n.plan").write_bytes(building.plan({}, b"x", built_by))
    with pytest.raises(Problem, match=what) as refused:
        device.infer(device.described("n.plan"), [IMAGES])
    assert refused.value.code == "device" and seen in refused.value.seen and "build" in refused.value.fix


@pytest.mark.parametrize(("settings", "what", "seen"), [
    ({"FAKE_TENSORRT_NO_CONTEXT": "1"}, "cannot make room", "OutOfMemory"),
    ({"FAKE_CUDA_MEMORY": "700"}, "GPU is out of memory", "out of memory"),
    ({"FAKE_CUDA_FAIL": "cudaStreamSynchronize:719"}, "CUDA refuses", "LaunchFailure"),
    ({"FAKE_TENSORRT_NO_GPU": "1"}, "cannot use the GPU", "nullptr"), ({"FAKE_CUDA_DEVICES": "0"}, "there is no GPU", ""),
])  # fmt: skip
def test_a_failure_while_running_is_told_and_everything_is_released(device, tiny, monkeypatch, settings, what, seen):
    device.start()
    engine = device.build(tiny.float_model(device.work / "m.onnx", batch=1), []).engine
    device.start(**settings)
    with pytest.raises(Problem, match=what) as refused:
        device.infer(engine, [IMAGES])
    memory = "emory" in seen  # what is short of it says something about the model
    assert refused.value.code == ("device-memory" if memory else "device") and seen in (refused.value.seen or "")
    assert device.gpu.complaints() == []
    made = ("cudaMalloc", "cudaHostAlloc", "cudaStreamCreateWithFlags")
    assert device.gpu.calls().count(made[2]) - device.gpu.calls().count("cudaStreamDestroy") == 0


def test_a_failure_in_the_timed_loop_ends_the_work_and_not_the_process(device, tiny):
    device.start()
    engine = device.build(tiny.float_model(device.work / "m.onnx", batch=1), []).engine
    device.start(FAKE_CUDA_FAIL="cudaGraphLaunch:719:9")
    with pytest.raises(Problem, match="CUDA refuses cudaGraphLaunch"):
        device.timed({"m": engine}, IMAGES[:1])
    assert device.gpu.complaints() == []


def test_an_old_or_broken_module_is_told_with_what_to_install(device, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="8.2.1.8"))
    with pytest.raises(Problem, match=r"older than 8\.5"):
        tensorrt_log.module()
    monkeypatch.delitem(sys.modules, "tensorrt")
    with pytest.raises(Problem, match="cannot be imported") as refused:
        device.start(FAKE_TENSORRT_BROKEN="1")
    assert refused.value.code == "environment" and "libnvinfer.so.10" in refused.value.seen


@pytest.mark.parametrize(
    ("numbers", "printed"), [((8, 2, 1), 8201), ((8, 6, 2), 8602), ((10, 3, 0), 100300), ((10, 13, 3), 101303)]
)
def test_versions_are_printed_as_trtexec_prints_them(numbers, printed):
    assert tensorrt_log.version_number(numbers) == printed


def test_the_logger_collects_errors_from_any_thread_and_names_the_last(device):
    import threading

    trt = device.start()
    logger = tensorrt_log.logger(trt)
    assert logger is tensorrt_log.logger(trt)  # one a process
    threads = [threading.Thread(target=logger.log, args=(trt.ILogger.ERROR, f"from thread {one}")) for one in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    logger.log(trt.ILogger.INFO, "no error")
    assert len(logger.lines) == 5 and logger.last_errors().count("from thread") == 3
    assert os.environ["FAKE_TENSORRT_VERSION"] == "10.3.0"


def test_an_engine_of_another_module_is_refused_where_it_is_measured_or_asked(device, tiny, monkeypatch):
    device.start("10.3.0")
    model = tiny.symmetric_model(device.work / "m.onnx")
    built = device.build(model, WORDS["10.3.0"])
    monkeypatch.setenv("FAKE_TENSORRT_OTHER_MODULE", "1")
    for work in (lambda: device.infer(built.engine, [IMAGES]), lambda: device.timed({"m": built.engine}, IMAGES[:1])):
        with pytest.raises(Problem, match="built on another module") as refused:
            work()
        assert "across different models" in refused.value.seen and refused.value.code == "device"

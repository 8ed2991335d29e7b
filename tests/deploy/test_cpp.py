"""The C++ app a user copies: to the bit what the Python runtime says, and as careful with what it is given."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

import broken_images as zoo
import build_cpp
import numpy as np
import pytest
import tiny_models
from PIL import Image

from edgekd.bundle import Engine
from edgekd.device import Problem, load, onnxrt

pytestmark = pytest.mark.skipif(bool(build_cpp.MISSING), reason=f"not installed: {', '.join(build_cpp.MISSING)}")
WITHOUT_VNNI = "processor : 0\nflags : fpu avx avx2 fma\n\nprocessor : 1\nflags : fpu avx avx2 avx_vnni\n"
WITH_VNNI = WITHOUT_VNNI.replace("avx2 fma", "avx2 avx_vnni")
OF_AN_ENGINE = {"path": "models/a.engine", "flavour": "trt", "precision": "int8"}
OTHER_KINDS = ("GIF", "TIFF", "WebP", "CMYK", "BMP")


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return build_cpp.build(tmp_path_factory.mktemp("cpp"))


@pytest.fixture(scope="module")
def check(program):
    return build_cpp.build_check(program)


@pytest.fixture
def say(program):
    """Run it: (status, its JSON document, what it said on stderr)."""

    def run(*words, **environment):
        done = subprocess.run([program, *words, "--json", "--logits"], capture_output=True, timeout=60, check=False,
                              env={**os.environ, **environment})  # fmt: skip
        return done.returncode, json.loads(done.stdout), done.stderr.decode("utf-8", "replace")

    return run


def written(folder, pixels, name):
    Image.fromarray(pixels).save(folder / name)
    return folder / name


def same(told, bundle, images):
    """Labels and order equal, logits to the bit, probabilities but for the last digit of exp()."""
    for one, expected, logits in zip(told, bundle.predict(images, top=4), bundle.logits(images), strict=True):
        best, also = one["top"], expected["top"]
        assert np.array_equal(np.array(one["logits"], np.float32), logits), one["image"]
        assert [(one["label"], one["index"]) for one in best] == [(one["label"], one["index"]) for one in also]
        assert np.allclose([one["probability"] for one in best], [one["probability"] for one in also], rtol=0, atol=1e-14)
        assert {name: one[name] for name in best[0]} == best[0]


def test_golden_cases_give_the_golden_logits_to_the_bit(say, bundle, tmp_path):
    images = [written(tmp_path, pixels, f"{i} ä.png") for i, pixels in enumerate(np.load(bundle / "golden/inputs.npy"))]
    status, told, said = say(bundle, *images)
    assert (status, said, told["flavour"], told["bundle"]) == (0, "", load(bundle).flavour, str(bundle))
    logits = np.array([one["logits"] for one in told["predictions"]], np.float32)
    assert np.array_equal(logits, np.load(bundle / f"golden/logits-{told['flavour']}.npy"))


SIZES = [(9, 8), (8, 9), (17, 31), (31, 17), (64, 48), (333, 7), (7, 333), (1, 1), (3, 2), (1, 900), (900, 1), (225, 450)]


@pytest.mark.parametrize(
    "resize", [{"shorter": 8}, {"shorter": 11}, {"exact": [8, 8]}, {"exact": [13, 9]}], ids=lambda one: str(one).strip("{}")
)
def test_photos_of_any_size_are_resized_cropped_and_classified_as_by_pillow(say, bundle, tmp_path, resize):
    (bundle / "preprocessing.json").write_text(json.dumps({**tiny_models.SPEC, "resize": resize, "mean": [0.485, 0.456, 0.406]}))
    tiny_models.seal(bundle)
    random = np.random.default_rng(2)
    images = [written(tmp_path, random.integers(0, 256, (high, wide, 3), np.uint8), f"{wide}x{high}.ppm") for wide, high in SIZES]
    images.append(written(tmp_path, random.integers(0, 256, (20, 30), np.uint8), "grey.pgm"))
    status, told, _ = say(bundle, *images, "--top", "4")
    assert status == 0
    same(told["predictions"], load(bundle), images)


def test_every_picture_of_the_zoo_is_the_same_or_refused_by_both(say, bundle, tmp_path):
    images = []
    for number, (what, kind) in enumerate({**zoo.PICTURES, **zoo.REFUSED}.items()):
        (tmp_path / str(number)).mkdir()
        kind.write(tmp_path / str(number) / kind.name)
        images.append((what, tmp_path / str(number) / kind.name))
    opaque = np.dstack([zoo.PICTURE, np.arange(256, dtype=np.uint8).reshape(16, 16)])
    images.append(("half transparent", written(tmp_path, opaque, "half.png")))
    images += [(f"turned {i}", tmp_path / f"turned{i}.jpg") for i in range(1, 9)]
    for i in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = i
        Image.fromarray(zoo.PICTURE[:12]).save(tmp_path / f"turned{i}.jpg", exif=exif, quality=95)
    _, told, said = say(bundle, *(path for _, path in images), "--top", "4")
    read, answers, only_there = load(bundle), iter(told["predictions"]), []
    named = {one["image"] for one in told["predictions"]}
    for what, path in images:
        refused = os.fsencode(path).decode("utf-8", "replace") not in named
        try:
            read.predict([path])
        except Problem:
            if not refused:  # libpng passes over what Pillow will not unpack; the pixels are whole
                assert what == "a PNG with a comment that unpacks to 64 MB" and next(answers)
            continue
        if refused:
            only_there.append(what)
        else:
            same([next(answers)], read, [path])
    assert all(any(kind in what for kind in OTHER_KINDS) for what in only_there), only_there
    assert said.count("not a readable image") >= 20 and "\x1b" not in said


def test_a_jpeg_photo_is_decoded_as_pillow_decodes_it_but_for_a_level(say, bundle, tmp_path):
    """Two releases of libjpeg may round a chroma sample differently; the labels must not care."""
    smooth = np.asarray(Image.fromarray(zoo.PICTURE).resize((120, 90), Image.Resampling.BICUBIC))
    Image.fromarray(smooth).save(tmp_path / "photo.jpg", quality=85)
    _, told, _ = say(bundle, tmp_path / "photo.jpg")
    expected = load(bundle).logits([tmp_path / "photo.jpg"])[0]
    assert np.abs(np.array(told["predictions"][0]["logits"]) - expected).max() < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("cpuinfo", "arch", "flavour"),
    [(WITHOUT_VNNI, "x86_64", "ort-w7"), (WITH_VNNI, "x86_64", "ort"), (WITHOUT_VNNI, "aarch64", "ort")],
    ids=["no VNNI", "VNNI", "Arm"],
)
def test_the_int8_file_is_chosen_by_the_cpu_as_the_loader_chooses(say, bundle, tmp_path, monkeypatch, cpuinfo, arch, flavour):
    (bundle / "models/tiny.ort.onnx").write_bytes((bundle / "models/tiny.fp32.onnx").read_bytes())
    models = json.loads((bundle / "manifest.json").read_text())["models"]
    tiny_models.seal(bundle, models=[*models, {**models[0], "flavour": "ort", "path": "models/tiny.ort.onnx", "weight_bits": 8}])
    root = tmp_path / "root"
    (root / "proc/sys/kernel").mkdir(parents=True)
    (root / "proc/cpuinfo").write_text(cpuinfo)
    (root / "proc/sys/kernel/arch").write_text(arch + "\n")
    monkeypatch.setenv("EDGEKD_DEVICE_ROOT", f"{root}/")
    onnxrt.this_identity.__defaults__[0].clear()
    try:
        image = written(tmp_path, zoo.PICTURE, "a.png")
        told, python = say(bundle, image, "--top", "4")[1], load(bundle)
        assert told["flavour"] == python.flavour == flavour
        same(told["predictions"], python, [image])
    finally:
        onnxrt.this_identity.__defaults__[0].clear()


@pytest.mark.parametrize("file", ["manifest.json", "labels.json", "preprocessing.json", "models/tiny.ort-w7.onnx"])
def test_one_flipped_bit_in_the_bundle_is_refused_with_7(say, bundle, tmp_path, file):
    content = (bundle / file).read_bytes()
    (bundle / file).write_bytes(zoo.flipped(content, len(content) // 2))
    status, told, _ = say(bundle, written(tmp_path, zoo.PICTURE, "a.png"))
    assert (status, told["error"]["code"], "predictions" in told) == (7, "integrity", False)


def damage_links(bundle):
    (bundle / "labels.json").rename(bundle.parent / "labels")
    (bundle / "labels.json").symlink_to(bundle.parent / "labels")


def damage_parent(bundle):
    (bundle / "models").rename(bundle.parent / "models")
    (bundle / "models").symlink_to(bundle.parent / "models")


def damage_labels(bundle):
    (bundle / "labels.json").write_text('["cat", "dog"]')
    tiny_models.seal(bundle)


def damage_resize(bundle):
    (bundle / "preprocessing.json").write_text(json.dumps({**tiny_models.SPEC, "interpolation": "bicubic"}))
    tiny_models.seal(bundle)


def damage_paths(bundle):
    files = json.loads((bundle / "manifest.json").read_text())["files"]
    tiny_models.seal(bundle)
    content = json.dumps({**json.loads((bundle / "manifest.json").read_text()), "files": [*files, {**files[0], "path": "../x"}]})
    (bundle / "manifest.json").write_text(content)
    (bundle / "manifest.json.sha256").write_text(hashlib.sha256(content.encode()).hexdigest())


@pytest.mark.parametrize(
    ("damage", "status", "said"),
    [
        (damage_links, 7, "labels.json is a link"), (damage_parent, 7, "lies behind a link"),
        (damage_labels, 7, "labels and classes differ"),
        (damage_resize, 2, "interpolation bilinear"), (damage_paths, 7, "names files it may not"),
        (lambda bundle: tiny_models.seal(bundle, schema=2), 2, "bundles of schema 1"),
        (lambda bundle: (bundle / "manifest.json").unlink(), 2, "no bundle there"),
        (lambda bundle: tiny_models.seal(bundle, models=[]), 2, "no model for onnxruntime"),
    ],
)  # fmt: skip
def test_a_bundle_that_promises_something_else_is_refused_as_by_the_loader(say, bundle, tmp_path, damage, status, said):
    damage(bundle)
    image = written(tmp_path, zoo.PICTURE, "a.png")
    code, told, _ = say(bundle, image)
    assert code == status and said in told["error"]["what"]
    with pytest.raises(Problem) as raised:
        load(bundle).predict([image])
    assert raised.value.exit_code == status or "labels" in said or "no model" in said


def test_wrong_words_are_told(program, bundle):
    for words in (
        [],
        [bundle],
        [bundle, "x.png", "--top", "0"],
        [bundle, "x.png", "--nothing"],
        [bundle, "x.png", "--backend", "cuda"],
    ):
        done = build_cpp.run(program, *words)
        assert (done.returncode, done.stdout, done.stderr.startswith("usage:")) == (2, "", True)
    missing = build_cpp.run(program, bundle, bundle / "gone.png")
    assert missing.returncode == 2 and "No such file" in missing.stderr
    assert build_cpp.run(program, bundle, "/dev/zero").returncode == 2


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_an_answer_that_cannot_be_written_is_an_error(program, bundle, tmp_path, words):
    image = written(tmp_path, zoo.PICTURE, "a.png")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [program, bundle, image, *words], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert done.returncode == 5 and "cannot be written" in done.stderr and "No space left" in done.stderr


@pytest.mark.parametrize(
    "head", ["P6 3 2 255#c\n", "P63 2 255\n", "P6 3 2 255x\n", "P6 3 2x 255\n", "P6 # c\n3 2\n255\n", "P6\n3 2 # c\n255\n"]
)
def test_a_header_of_a_ppm_is_read_or_refused_as_by_pillow(program, bundle, tmp_path, head):
    (tmp_path / "a.ppm").write_bytes(head.encode() + bytes(range(18)))
    try:
        status = bool(load(bundle).predict([tmp_path / "a.ppm"])) - 1
    except Problem as problem:
        status = problem.exit_code
    assert build_cpp.run(program, bundle, tmp_path / "a.ppm").returncode == status


def test_text_is_one_line_an_image_and_no_name_steers_a_terminal(program, bundle, tmp_path):
    image = written(tmp_path, np.load(bundle / "golden/inputs.npy")[0], "a\x1b[2J\n.png")
    best = load(bundle).predict([image], top=2)[0]["top"]
    done = build_cpp.run(program, bundle, image, "--top", "2")
    shares = "  ".join(f"{one['label']}  {one['probability']:.3f}" for one in best)
    assert done.stdout == f"{tmp_path}/a?[2J?.png  {shares}\n"


# --- TensorRT: everything but TensorRT itself, which a stand-in plays


def engine(path, version=(10, 3, 0, 30), refused=0):
    path.write_bytes(b"ftrt" + bytes(20) + bytes(version) + bytes(36) + bytes([refused]) + bytes(64))
    return path


def expected_logits(bundle, image):
    from edgekd.device import decode, normalize

    values = normalize(decode(image, tiny_models.SPEC)[None], tiny_models.SPEC).reshape(4, -1)
    return np.add.accumulate(values, axis=1, dtype=np.float32)[:, -1]


def test_an_engine_gets_the_images_numbers_and_its_logits_come_back(say, bundle, tmp_path):
    images = [written(tmp_path, pixels, f"{i}.png") for i, pixels in enumerate(np.load(bundle / "golden/inputs.npy"))]
    status, told, _ = say(bundle, *images, "--engine", engine(tmp_path / "own.engine"))
    assert (status, told["flavour"]) == (0, "tensorrt")
    for one, image in zip(told["predictions"], images, strict=True):
        assert np.array_equal(np.array(one["logits"], np.float32), expected_logits(bundle, image))


def test_the_bundles_own_engine_is_taken_only_for_this_tensorrt_and_gpu(say, bundle, tmp_path):
    image = written(tmp_path, zoo.PICTURE, "a.png")
    engine(bundle / "models/a.engine")
    for tensorrt, capability, fits in [
        ("10.3.0.30", "8.7", True), ("10.3.0", "8.7", True), ("10.3.01", "8.7", False), ("8.6.2.3", "8.7", False),
        ("10.3.0.30", "7.2", False),
    ]:  # fmt: skip
        tiny_models.seal(bundle, engines=[{**OF_AN_ENGINE, "tensorrt": tensorrt, "compute_capability": capability}])
        _, told, _ = say(bundle, image)
        assert told["flavour"] == ("tensorrt" if fits else load(bundle).flavour)
        status, told, _ = say(bundle, image, "--backend", "tensorrt")
        assert status == (0 if fits else 2)
        assert say(bundle, image, "--backend", "onnxruntime")[1]["flavour"] != "tensorrt"
    good = {**OF_AN_ENGINE, "tensorrt": "10.3.0.30", "compute_capability": "8.7"}
    tiny_models.seal(bundle, engines=[good])
    engine(bundle / "models/a.engine", (10, 3, 0, 31))  # after it was sealed
    assert say(bundle, image, "--backend", "tensorrt")[0] == 7


def test_without_a_gpu_the_bundle_runs_in_onnxruntime_and_an_engine_that_was_asked_for_is_an_error(say, bundle, tmp_path):
    image = written(tmp_path, zoo.PICTURE, "a.png")
    engine(bundle / "models/a.engine")
    tiny_models.seal(bundle, engines=[{**OF_AN_ENGINE, "tensorrt": "10.3.0.30", "compute_capability": "8.7"}])
    assert say(bundle, image)[1]["flavour"] == "tensorrt"
    status, told, _ = say(bundle, image, FAKE_NO_GPU="1")
    assert (status, told["flavour"]) == (0, load(bundle).flavour)
    status, told, _ = say(bundle, image, "--backend", "tensorrt", FAKE_NO_GPU="1")
    assert status == 6 and "no GPU" in told["error"]["what"] and "video and render" in told["error"]["fix"]


def test_what_the_bundle_says_of_its_engines_is_understood_and_the_one_of_this_module_comes_first(say, bundle, tmp_path):
    image, described = written(tmp_path, zoo.PICTURE, "a.png"), []
    for target, module in (("nano", "p3767-0003"), ("nx", "p3767-0000")):
        file = engine(tmp_path / f"{target}.engine", refused=target == "nx")
        one = Engine(file, bundle / "labels.json", "trt", target, "a board", "int8+fp16", "10.3.0.30", "8.7", module)
        (bundle / one.path).parent.mkdir()
        (bundle / one.path).write_bytes(file.read_bytes())
        described.append(one.described())
    tiny_models.seal(bundle, engines=described)
    assert say(bundle, image)[1]["flavour"] == "tensorrt"
    tree = tmp_path / "root/proc/device-tree/compatible"
    tree.parent.mkdir(parents=True)
    tree.write_bytes(b"nvidia,p3768-0000+p3767-0000\0nvidia,tegra234\0")
    status, told, _ = say(bundle, image, EDGEKD_DEVICE_ROOT=str(tmp_path / "root"))
    assert status == 6 and told["error"]["where"] == "models/nx/student.int8-fp16.engine"


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda path: path.write_bytes(b"ftrt"), "no TensorRT engine"),
        (lambda path: path.write_bytes(bytes(500)), "no TensorRT engine"),
        (lambda path: engine(path, (10, 13, 3, 9)), "another TensorRT than runs here"),
        (lambda path: engine(path, refused=1), "TensorRT refuses the engine"),
        (lambda path: engine(path, (8, 6, 2, 3), refused=1), "TensorRT refuses the engine"),
    ],
)  # fmt: skip
def test_an_engine_that_does_not_belong_here_is_refused_with_6_and_a_plain_word(say, bundle, tmp_path, made, said):
    made(tmp_path / "odd.engine")
    status, told, _ = say(bundle, written(tmp_path, zoo.PICTURE, "a.png"), "--engine", tmp_path / "odd.engine")
    assert status == 6 and said in told["error"]["what"]
    assert "compute 8.7 got compute 8.6" in (told["error"]["seen"] or "") or "refuses" not in said


def test_version_numbers_of_both_forms_are_read(check):
    assert [build_cpp.run(check, "version", number).stdout for number in ("8502", "8602", "100300", "101303", "110000")] == \
        ["8.5.2", "8.6.2", "10.3.0", "10.13.3", "11.0.0"]  # fmt: skip


# --- the parts that are our own: JSON and SHA-256

GOOD = [
    '{"a": [1, 2.5e-3, -0, true, false, null, "x"]}', " [ ] ", "{}", '"\\u00e4\\ud83d\\ude00 \\"\\\\\\/\\b\\f\\n\\r\\t"', '"ä😀"',
    "-1.5E+10", '{"a": 1, "a": 2}', "[[[[]]]]", '"\\u0000\\u007f"', "123456789012345678", "0.1", "[1,\n\t2\r\n]",
]  # fmt: skip
BAD = [
    "", "[", "]", "[1,]", "[1 2]", '{"a"}', '{"a":}', "{a: 1}", "{'a': 1}", "01", "1.", ".5", "+1", "1e", "NaN", "Infinity",
    "tru", "nullx", '"a', '"\\x"', '"\\u12"', '"\t"', '"\\ud800"', '"\\udc00"', '"\\ud800\\u0041"', "[" * 100 + "]" * 100, "1 1",
    "\ufeff{}",
]  # fmt: skip


def test_json_is_read_as_python_reads_it_and_everything_else_refused(check, tmp_path):
    random = np.random.default_rng(4)

    def value(depth):
        kind = int(random.integers(0, 5 if depth else 3))
        text = "".join(chr(int(c)) for c in random.choice([32, 65, 34, 92, 10, 228, 8364, 128512, 0, 127], 5))
        if kind < 3:
            return [float(random.normal() * 10.0 ** int(random.integers(-20, 20))), text, None][kind]
        items = [value(depth - 1) for _ in range(3)]
        return items if kind == 3 else {text + str(i): item for i, item in enumerate(items)}

    good = [*GOOD, *(json.dumps(value(4), ensure_ascii=bool(i % 2), indent=[None, 1][i % 3 == 0]) for i in range(200))]
    broken = [b"\xff", b'"\xc0\xaf"', b'"\xed\xa0\x80"', b'"\xe2\x82"', b'"\xf5\x80\x80\x80"']
    (tmp_path / "texts").write_bytes(b"\x1e".join([one.encode() for one in [*good, *BAD]] + broken))
    answers = subprocess.run([check, "json", tmp_path / "texts"], capture_output=True, check=True).stdout.split(b"\x1e")
    for text, answer in zip(good, answers, strict=False):
        assert json.loads(answer, parse_int=float) == json.loads(text, parse_int=float), text  # numbers are doubles
    refused = answers[len(good) : -1]
    assert len(refused) == len(BAD) + len(broken)
    assert all(answer.startswith(b"refused: ") for answer in refused), [a for a in refused if not a.startswith(b"refused")]


def test_sha256_is_that_of_hashlib_around_every_block_length(check, tmp_path):
    for size in (0, 1, 55, 56, 57, 63, 64, 65, 119, 120, 1000, 100_003):
        content = np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes()
        (tmp_path / "x").write_bytes(content)
        assert build_cpp.run(check, "sha256", tmp_path / "x").stdout == hashlib.sha256(content).hexdigest()

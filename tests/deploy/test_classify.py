"""The sample app a user copies: predictions from the bundle alone, and a word for all that can go wrong."""

import ast
import json
import re
import shutil
from pathlib import Path

import broken_images as zoo
import numpy as np
import pytest
from PIL import Image

APP = Path(__file__).parents[2] / "deploy/python/classify.py"
LABELS = ["cat", "dog", "Käfer", "none"]
CAMERA = """
import numpy

class VideoCapture:
    def __init__(self, camera):
        assert camera in (0, "film.mp4"), camera
        self.frames = list(numpy.load({frames!r}))

    def read(self):
        return (True, self.frames.pop(0)[:, :, ::-1]) if self.frames else (False, None)  # blue, green, red
"""


@pytest.fixture
def expected(bundle):
    """The labels of the golden cases, which lie as images in the folder beside the bundle."""
    photos = bundle.parent / "photos"
    photos.mkdir()
    for number, pixels in enumerate(np.load(bundle / "golden/inputs.npy")):
        Image.fromarray(pixels).save(photos / f"{number} ä.png")
    return [LABELS[index] for index in np.load(bundle / "golden/logits-ort-w7.npy").argmax(1)]


def objects(text):
    return [json.loads(line) for line in text.splitlines()]


def test_the_app_is_python_3_6_of_about_a_hundred_lines_and_names_nothing_of_edgekd_but_the_bundles_loader():
    text = APP.read_text()
    ast.parse(text, feature_version=(3, 6))
    assert len(text.splitlines()) <= 130
    assert re.findall(r"^\s*(?:from|import) (edgekd\S*|torch\S*)", text, re.MULTILINE) == ["edgekd_device"]


def test_a_folder_and_single_images_are_classified_as_the_golden_cases_say(classify, bundle, expected):
    done = classify(bundle, "photos", "photos/0 ä.png")
    lines = [re.fullmatch(r"(.+\.png)  (\S+)  (\d\.\d{3})  \d+\.\d ms", line) for line in done.stdout.splitlines()]
    assert [line[1] for line in lines] == [*(f"photos/{number} ä.png" for number in range(6)), "photos/0 ä.png"]
    assert [line[2] for line in lines] == [*expected, expected[0]]
    assert (done.returncode, re.sub(r"[\d.]+ ms", "T", done.stderr)) == (0, "7 classified, median T from image to label\n")


def test_json_is_one_object_a_line(classify, bundle, expected):
    done = classify(bundle, "photos", "--json")
    read = objects(done.stdout)
    assert [one["label"] for one in read] == expected
    assert all(one.keys() == {"source", "label", "probability", "milliseconds"} and one["milliseconds"] > 0 for one in read)


def test_images_that_cannot_be_read_are_told_and_the_rest_goes_on(classify, bundle, expected):
    photos = bundle.parent / "photos"
    (photos / "broken\n\x1b[2J.png").write_bytes(zoo.PNG[:60])
    (photos / "pipe.png").symlink_to("/dev/zero")
    (photos / ".hidden.png").write_bytes(b"")
    (photos / "notes.txt").write_text("no image")
    done = classify(bundle, "photos", "gone.jpg")
    assert (done.returncode, len(done.stdout.splitlines())) == (2, 6)
    told = done.stderr.splitlines()
    assert told[0].startswith("photos/broken??[2J.png  cannot be read: not a readable image")
    assert told[1:3] == [
        "photos/pipe.png  cannot be read: cannot open the image: it is a pipe, a socket or a device",
        "gone.jpg  cannot be read: cannot open the image: No such file or directory",
    ]
    read = objects(classify(bundle, "photos", "--json").stdout)
    assert sum("error" in one for one in read) == 2 and sum("label" in one for one in read) == 6


def test_a_camera_is_classified_frame_by_frame_in_its_true_colours(classify, bundle, packages, expected):
    (packages / "cv2.py").write_text(CAMERA.format(frames=str(bundle / "golden/inputs.npy")))
    for camera in ([], ["film.mp4"]):
        done = classify(bundle, "--json", "--camera", *camera)
        assert (done.returncode, [one["label"] for one in objects(done.stdout)]) == (0, expected)
        assert objects(done.stdout)[0]["source"] == "frame 1"


def test_without_opencv_or_without_a_picture_the_camera_says_so(classify, bundle, packages):
    missing = classify(bundle, "--camera")
    assert (missing.returncode, "pip install opencv-python-headless" in missing.stderr) == (5, True)
    np.save(bundle.parent / "none.npy", np.zeros((0, 8, 8, 3), np.uint8))
    (packages / "cv2.py").write_text(CAMERA.format(frames=str(bundle.parent / "none.npy")))
    dark = classify(bundle, "--camera", "0")
    assert (dark.returncode, dark.stderr) == (6, "classify.py: camera 0 gives no picture\n")


@pytest.mark.parametrize("file", ["edgekd.pyz", "manifest.json", "models/tiny.ort-w7.onnx"])
def test_one_flipped_bit_in_the_bundle_is_refused_with_7_before_anything_is_classified(classify, bundle, expected, file):
    content = (bundle / file).read_bytes()
    (bundle / file).write_bytes(zoo.flipped(content, len(content) // 2))
    done = classify(bundle, "photos")
    assert (done.returncode, done.stdout, "Traceback" in done.stderr) == (7, "", False)
    assert done.stderr.startswith(f"classify.py: {bundle}")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["nowhere", "photos"], 2, "nowhere/manifest.json: No such file or directory"),
        (["BUNDLE"], 2, "give images, or --camera"),
        (["BUNDLE", "photos", "--camera"], 2, "give images, or --camera"),
        (["BUNDLE", "empty"], 2, "empty: no images in this folder"),
    ],
)
def test_wrong_words_are_told(classify, bundle, expected, words, code, said):
    (bundle.parent / "empty").mkdir()
    done = classify(*(bundle if word == "BUNDLE" else word for word in words))
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr and "Traceback" not in done.stderr


def test_without_a_package_the_line_to_install_it_is_told(classify, bundle, packages, expected):
    for name in ("onnxruntime", "PIL", "numpy"):
        (packages / name).unlink()
        done = classify(bundle, "photos")
        assert (done.returncode, "pip install" in done.stderr, "Traceback" in done.stderr) == (5, True, False), done.stderr


def test_it_runs_from_a_copy_anywhere(classify, bundle, expected, tmp_path):
    shutil.copy(APP, tmp_path / "mine.py")
    assert classify(bundle, "photos", app=tmp_path / "mine.py").returncode == 0

"""The container file by what can be known without building it: pinned bases, no root, nothing copied that is not there."""

import json
import re
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"
TEXT = (DEPLOY / "containers/Dockerfile").read_text()
# (word, rest) of every instruction, continued lines joined
STEPS = [
    line.split(None, 1) for line in re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE).replace("\\\n", " ").splitlines() if line
]


def of(word):
    return [rest for name, rest in STEPS if name == word]


def test_only_known_instructions_are_there_in_an_order_that_docker_takes():
    assert {word for word, _ in STEPS} <= {"ARG", "FROM", "RUN", "COPY", "USER", "WORKDIR", "ENTRYPOINT", "CMD"}
    assert STEPS[0] == ["ARG", "JETPACK=6"] and [word for word, _ in STEPS[1:5]] == ["FROM"] * 4


def test_every_base_is_pinned_and_each_jetpack_has_one():
    *bases, last = of("FROM")
    parsed = [re.fullmatch(r"(nvcr\.io/nvidia/[a-z0-9-]+):(\S+) AS (jetpack[567])", base) for base in bases]
    assert [base[3] for base in parsed] == ["jetpack5", "jetpack6", "jetpack7"] and last == "jetpack${JETPACK}"
    assert all(re.search(r"\d+\.\d+", base[2]) and base[2] != "latest" for base in parsed)
    assert [base[2][:4] for base in parsed[:2]] == ["r35.", "r36."]  # L4T of JetPack 5 and 6


def test_it_does_not_run_as_root_and_nothing_after_that_installs():
    words = [word for word, _ in STEPS]
    assert of("USER") == ["edgekd"] and "useradd --system" in of("RUN")[-2]
    after = STEPS[words.index("USER") :]
    assert not any("install" in rest for word, rest in after if word == "RUN")


def test_packages_are_installed_without_leaving_their_lists_and_nothing_is_piped_into_a_shell():
    for step in of("RUN"):
        assert ("apt-get install" in step) <= ("--no-install-recommends" in step and "rm -rf /var/lib/apt/lists/*" in step)
        assert ("pip install" in step) <= ("--no-cache-dir" in step)
        assert not re.search(r"curl|wget|\|\s*(ba)?sh", step)


def test_what_is_copied_and_started_is_there():
    copied = [name for rest in of("COPY") if "--from" not in rest for name in rest.split()[:-1]]
    assert copied == ["python/requirements.txt", "python/classify.py", "systemd/watch.py"]
    assert all((DEPLOY / name).is_file() for name in copied) and "--from=bundle . /opt/edgekd/bundle/" in of("COPY")
    assert json.loads(of("ENTRYPOINT")[0])[-2:] == ["/opt/edgekd/classify.py", "/opt/edgekd/bundle"]
    assert json.loads(of("CMD")[0]) == ["--help"]


def test_a_damaged_bundle_does_not_become_an_image():
    assert of("RUN")[-1].endswith("/opt/edgekd/bundle/edgekd.pyz verify /opt/edgekd/bundle")

"""kill -9 while a real chain trains: the same command again ends with the bytes of a run that nobody disturbed.

Many more kills, at moments drawn from a clock: tests/benchmarks/random_kills.py.
"""

import random

from kills import digests, kill, resumption, start, steps_done, wait_until

STEPS = 40  # of each training


def test_a_chain_killed_in_each_of_its_trainings_ends_with_the_same_bytes(tmp_path):
    whole, killed, draw, went_on = tmp_path / "whole", tmp_path / "killed", random.Random(0), []
    whole.mkdir()
    killed.mkdir()
    undisturbed = start(whole)
    for training, who in (("teacher", "parent"), ("distill", "parent and worker"), ("quantize", "parent")):
        process, moment = start(killed), draw.randrange(STEPS // 2)
        wait_until(lambda training=training, moment=moment: steps_done(killed, training) > moment, process)
        kill(process, who)
        went_on.append(resumption(killed))
    last = start(killed)
    assert last.wait() == 0, (killed / "progress.txt").read_text()
    went_on.append(resumption(killed))
    assert undisturbed.wait() == 0, (whole / "progress.txt").read_text()
    assert digests(killed) == digests(whole)
    assert {"teacher/teacher.safetensors", "distill/student.safetensors", "export/student.ort.onnx"} <= digests(whole).keys()
    assert "teacher at step" in went_on[1]  # a worker whose parent dies keeps the step it is at
    assert "quantize at step" in went_on[3]
    assert not list((killed / "runs/.store").glob("*.checkpoint"))

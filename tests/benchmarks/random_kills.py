"""Kill a real chain at N random moments, the same command again each time, and compare every network with an undisturbed run's.

    python tests/benchmarks/random_kills.py [N, default 20] [seed, default 0] [words for edgekd pipeline, such as
                                            --until distill --set distill.method=ffkd --set distill.epochs=20]

Prints one line a kill: the moment, who was killed, what it had told last, and where it had taken a training up. Exits with 1 if
a byte differs.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "fakes"))
from kills import WHO, digests, kill, resumption, start, told

EPOCHS = {"teacher": 8, "distill": 6, "quantize": 4}  # so that most moments fall into a training
LONGER = [word for name, epochs in EPOCHS.items() for word in ("--set", f"{name}.epochs={epochs}")]


def main(kills: int, seed: int, *words: str) -> int:
    choose = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        whole, killed = Path(place, "whole"), Path(place, "killed")
        whole.mkdir()
        killed.mkdir()
        began = time.monotonic()
        if start(whole, *LONGER, *words).wait():
            sys.exit((whole / "progress.txt").read_text())
        lasted = time.monotonic() - began
        print(f"undisturbed: {lasted:.1f} s, {len(digests(whole))} networks")
        print("kill  moment  who                last told                                    took up")
        for number in range(1, kills + 1):
            process, who = start(killed, *LONGER, *words), choose.choice(WHO)
            moment = choose.uniform(0.0, 0.7 * lasted)
            time.sleep(moment)
            if process.poll() is not None:  # it had come to its end: begin anew, as many times as kills are asked for
                shown = "was done; equal" if digests(killed) == digests(whole) else "was done; DIFFERENT"
                print(f"{number:4}  {moment:5.1f}s  {'-':17}  {shown}")
                if "DIFFERENT" in shown:
                    return 1
                killed = Path(place, f"killed-{number}")
                killed.mkdir()
                continue
            kill(process, who)
            resumed_before, last = resumption(killed), (told(killed) or ["nothing yet"])[-1]
            print(f"{number:4}  {moment:5.1f}s  {who:17}  {last[:43]:43}  {resumed_before}", flush=True)
        if start(killed, *LONGER, *words).wait():
            sys.exit((killed / "progress.txt").read_text())
        print(f"last start{'':67}  {resumption(killed)}")
        same = digests(killed) == digests(whole)
    print("every network is byte-equal" if same else "DIFFERENT")
    return 0 if same else 1


if __name__ == "__main__":
    words = sys.argv[1:]
    numbers = [int(words.pop(0)) for _ in words[:2] if words[0].isdigit()]
    sys.exit(main(*(numbers + [20, 0][len(numbers) :]), *words))

"""How far apart ten ``edgekd bench A --against B`` come out: the spread of the ratio, each run a process of its own.

    python tests/benchmarks/bench_spread.py A.onnx B.onnx [runs] [words for edgekd bench]

Prints a line a run and, of all of them and of the calm ones, the greatest ratio over the least. It should be at most 1.05.
"""

import json
import subprocess
import sys


def main(own: str, other: str, runs: int, words: list[str]) -> None:
    program = "import sys; from edgekd.cli import main; main(sys.argv[1:])"
    asked = ["bench", own, "--against", other, *(words or ["--target", "local-cpu"]), "-q", "--json"]
    ratios: dict[bool, list[float]] = {True: [], False: []}
    for number in range(runs):
        done = subprocess.run([sys.executable, "-c", program, *asked], capture_output=True, text=True, check=False)
        document = json.loads(done.stdout)
        if document["error"]:
            print(number, document["error"], flush=True)
            continue
        speedup, suspect = document["speedup"], document["suspect"]
        ratios[not suspect].append(speedup["value"])
        print(
            f"{number}: {speedup['value']:.4f} [{speedup['low']:.4f}, {speedup['high']:.4f}] {'; '.join(suspect) or 'calm'}",
            flush=True,
        )
    for name, values in (("all", ratios[True] + ratios[False]), ("calm", ratios[True])):
        if values:
            least, most = min(values), max(values)
            print(f"{name}: {len(values)} runs, ratio {least:.4f} to {most:.4f}, spread {100 * (most / least - 1):.1f} %")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 10, sys.argv[4:])

"""How long an impossible latency bound takes to be refused, from the command's start to exit code 3, nothing cached.

    python tests/benchmarks/early_no.py [recipe]

Prints wall and processor seconds. On a machine that does nothing else the two are close: nearly all of it is one thread's work,
importing torch and its exporter, exporting once, timing for a few seconds. The refusal should take at most 30 seconds.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHIPPED = Path(__file__).parents[2] / "recipes/mobilenetv2_jetson.yaml"
BOUND = "gates.preflight.cpu.latency_ms.p50.max=0.01"


def main(recipe: str) -> None:
    program = "import sys; from edgekd.cli import main; main(sys.argv[1:])"
    with tempfile.TemporaryDirectory() as folder:
        words = ["pipeline", str(Path(recipe).resolve()), "--run-dir", f"{folder}/run", "--set", BOUND]
        started = time.monotonic()
        finished = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
        wall = time.monotonic() - started
        trained = Path(folder, "run/teacher").exists()
    used = os.times()
    print(finished.stdout.splitlines()[-1])
    print(f"exit {finished.returncode}, trained: {trained}, {wall:.1f} s, of the processor "
          f"{used.children_user + used.children_system:.1f} s")  # fmt: skip


if __name__ == "__main__":
    main(*(sys.argv[1:] or [str(SHIPPED)]))

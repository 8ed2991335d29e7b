"""A fake trtexec, one for each family of TensorRT versions: its options, rules, words and files, computed by onnxruntime.

``install`` puts it below a fake device's root as an executable; a file beside it says which version it is and how it fails:

    {"version": [10, 3, 0], "capability": "8.7", "fail": {"build": "hang"}}

The parts of a run that can fail: "build", "layers", "time", "infer"; the ways: see FAILURES. It is stricter than the real one:
what only warns there, or is silently something else than meant, ends with an error here.
"""

import json
import os
import signal
import stat
import sys
import time
from pathlib import Path

VERSIONS = {
    "8.2": (8, 2, 1), "8.4": (8, 4, 1), "8.5": (8, 5, 2), "8.6": (8, 6, 2), "10.0": (10, 0, 1), "10.3": (10, 3, 0),
    "10.13": (10, 13, 3), "10.16": (10, 16, 2), "11": (11, 0, 0),
}  # fmt: skip
FAILURES = (
    "hang",
    "killed",
    "memory",
    "disk full",
    "no verdict",
    "no file",
    "cut file",
    "no json",
    "cut json",
    "cut profile",
    "nan",
    "other module",
)
HELP = "=== Model Options ===\n  --onnx=<file>               ONNX model"
_STUB = "#!{python}\nimport sys\nsys.path.insert(0, {here!r})\nimport trtexec\ntrtexec.main(sys.argv)\n"


def install(root: Path, version: str, python: str = sys.executable, **switches) -> Path:
    """Below ``root``, the fake of ``version`` (a key of VERSIONS). switches: "capability", "fail". Returns the executable."""
    program = root / "usr/src/tensorrt/bin/trtexec"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(_STUB.format(python=python, here=str(Path(__file__).parent)))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    about = {"version": VERSIONS[version], "capability": "8.7", "fail": {}, **switches}
    program.with_suffix(".json").write_text(json.dumps(about))
    return program


def engine(model: Path, version: str, capability: str = "8.7") -> bytes:
    """What that version's fake builds of an ONNX file, without a process."""
    import onnx
    import trtexec_model

    return trtexec_model.plan_of(onnx.load(str(model)), VERSIONS[version], capability, {"profilingVerbosity": "detailed"})


def main(words):
    """Run one command line to its end; never returns."""
    Run(words).run()


class Ended(Exception):
    """This run is over, with FAILED; the errors were told."""


class Run:
    def __init__(self, words):
        about = json.loads(Path(words[0]).with_suffix(".json").read_text())
        self.version, self.capability = tuple(about["version"]), about["capability"]
        self.words, self.fails = words, about["fail"]
        by = (10000, 100) if self.version >= (10,) else (1000, 100)
        number = self.version[0] * by[0] + self.version[1] * by[1] + self.version[2]
        self.name = f"TensorRT.trtexec [TensorRT v{number}]" + (" [b9]" if self.version >= (10, 13) else "")
        self.how = None

    def run(self):
        import trtexec_options

        self.verdict("RUNNING")
        if "--help" in self.words:
            print(HELP, flush=True)
            raise SystemExit(0)  # without a verdict
        self.taken, errors = trtexec_options.parse(self.words[1:], self.version)
        part = next((name for option, name in PARTS.items() if option in self.taken), "time")
        self.how = self.fails.get(part)
        try:
            self.refuse_options(errors)
            self.start()
            self.build() if part == "build" else self.load()
        except Ended:
            self.verdict("FAILED")
            raise SystemExit(1) from None
        if self.how != "no verdict":
            self.verdict("PASSED")
        raise SystemExit(0)

    def refuse_options(self, errors):
        told_first = self.version >= (10,)
        if errors and told_first:
            print(HELP, flush=True)
        for error in errors:
            self.say("E", error)
        if errors and not told_first:
            print(HELP, flush=True)
        if errors:
            raise Ended

    def start(self):
        for line in ("=== Build Options ===", "=== Device Information ===", f"Compute Capability: {self.capability}"):
            self.say("I", line)
        self.say("I", f"TensorRT version: {'.'.join(map(str, self.version))}")
        if self.how == "hang":
            time.sleep(600)
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)

    def build(self):
        import trtexec_model

        path = self.taken["onnx"]
        self.say("I", "Start parsing network model")
        if not Path(path).exists():
            self.say("E", f"[TRT] ModelImporter.cpp:735: Failed to parse ONNX model from file: {path}")
            self.stop("Failed to parse onnx file", "Parsing model failed", *self.not_created)
        try:
            model = trtexec_model.accepted(path, self.version, self.taken)
        except trtexec_model.Refused as refused:
            self.refuse_model(refused)
        self.say("I", "Finish parsing network model")
        if "int8" in self.taken:
            kind = "precision" if self.version < (8, 6) else "quantization"
            self.say("W", f"[TRT] Calibrator won't be used in explicit {kind} mode. Please insert Quantize/Dequantize nodes.")
        if self.how == "memory":
            said = "Requested amount of GPU memory (1073741824 bytes) could not be allocated."
            self.say("W", f"[TRT] {said} There may not be enough free memory for allocation to succeed.")
            self.say("E", "Error[2]: [virtualMemoryBuffer.cpp::resizePhysical::145] Error Code 2: OutOfMemory")
            self.stop("Engine could not be created from network", "Building engine failed", *self.not_created)
        self.timing_cache()
        self.save(trtexec_model.plan_of(model, self.version, self.capability, self.taken))
        if self.version >= (8, 6):
            self.say("I", "Skipped inference phase since --skipInference is added.")

    def refuse_model(self, refused):
        if refused.why == "int8 missing":
            said = "Int8 precision has been set for a layer or layer output, but int8 is not configured in the builder"
            self.say("E", f"Error[4]: [network.cpp::validate::3166] Error Code 4: Internal Error ({said})")
            self.stop("Engine could not be created from network", "Building engine failed", *self.not_created)
        if refused.why == "op":
            number, op, output = refused.text
            self.say("I", f"[TRT] No importer registered for op: {op}. Attempting to import as plugin.")
            self.say("E", f'[TRT] ModelImporter.cpp:773: While parsing node number {number} [{op} -> "{output}"]:')
            self.say("E", "[TRT] ModelImporter.cpp:779: ERROR: builtin_op_importers.cpp:5411 In function importFallbackPlugin:")
            print('[8] Assertion failed: creator && "Plugin not found, are the plugin name and version correct?"', flush=True)
        elif refused.why == "zero point":
            self.say("E", "[TRT] ModelImporter.cpp:779: ERROR: builtin_op_importers.cpp:1172 In QuantDequantLinearHelper:")
            said = "TRT only supports symmetric quantization - zeroPt must be all zeros"
            print(f'[6] Assertion failed: shiftIsAllZeros(zeroPoint) && "{said}"', flush=True)
        else:
            self.say("E", f"[TRT] ModelImporter.cpp:779: ERROR: {refused.why}: {refused.text}")
        self.stop("Failed to parse onnx file", "Parsing model failed", *self.not_created)

    def timing_cache(self):
        path = self.taken.get("timingCacheFile")
        if not path:
            return
        mine = f"cache of {self.name} on {self.capability}".encode()
        if not Path(path).exists():
            said = f"Could not read timing cache from: {path}. A new timing cache will be generated and written."
            self.say("I", said)
        elif Path(path).read_bytes() == mine:
            self.say("I", f"Loaded {len(mine)} bytes of timing cache from {path}")
        else:
            self.say("W", "[TRT] The timing cache is of another version or device and will be ignored.")
        Path(path).write_bytes(mine)

    def save(self, plan):
        path = Path(self.taken["saveEngine"])
        self.say("I", "Engine built in 0.05 sec.")
        if self.version >= (10,):
            self.say("I", f"Created engine with size: {len(plan) / 2**20:g} MiB")
        if self.how == "disk full":
            path.write_bytes(plan[: len(plan) // 2])
            self.stop("Saving engine to file failed.", "Engine set up failed")
        if self.how == "hang saving":
            path.write_bytes(plan[: len(plan) // 2])
            time.sleep(600)
        if self.how != "no file":
            path.write_bytes(plan[: len(plan) // 2] if self.how == "cut file" else plan)

    def load(self):
        import trtexec_model
        import trtexec_run

        path = self.taken["loadEngine"]
        if not Path(path).exists():
            self.say("E", f"Error opening engine file: {path}")
            self.stop(*self.not_created)
        content = Path(path).read_bytes()
        plan = trtexec_model.read_plan(content)
        reader = "[stdArchiveReader.cpp::StdArchiveReader::32] " if self.version < (10,) else "IRuntime::deserializeCudaEngine: "
        if plan is None:
            said = "Serialization assertion magicTagRead == kMAGIC_TAG failed.Magic tag does not match"
            self.not_loaded(f"Error[1]: {reader}Error Code 1: Serialization ({said})")
        theirs, ours = plan[0]["serialization"], trtexec_model.serialization(self.version)
        if theirs != ours:
            said = f"Version tag does not match. Note: Current Version: {ours}, Serialized Engine Version: {theirs}"
            asserted = "Serialization assertion stdVersionRead == kSERIALIZATION_VERSION failed."
            self.not_loaded(f"Error[1]: {reader}Error Code 1: Serialization ({asserted}{said})")
        if plan[0]["capability"] != self.capability:
            said = f"expecting compute {self.capability} got compute {plan[0]['capability']}, please rebuild."
            self.not_loaded(f"Error[6]: The engine plan file is generated on an incompatible device, {said}")
        if self.how == "other module":
            said = "Using an engine plan file across different models of devices is not recommended"
            self.say("W", f"[TRT] {said} and is likely to affect performance or even cause errors.")
        if self.how == "memory":
            self.stop("Error[2]: [defaultAllocator.cpp::allocate::31] Error Code 1: Cuda Runtime (out of memory)")
        trtexec_run.run(self, *plan)

    @property
    def not_created(self):
        or_file = "" if self.version < (8, 4) else " or file"
        return f"Failed to create engine from model{or_file}.", "Engine set up failed"

    def not_loaded(self, said):
        self.say("E", said)
        if self.version < (8, 4):
            self.stop(*self.not_created)
        self.stop("Engine deserialization failed", "Got invalid engine!", "Inference set up failed")

    def stop(self, *errors):
        for error in errors:
            self.say("E", error)
        raise Ended

    def say(self, level, text):
        """INFO goes to stdout, the rest to stderr."""
        stream = sys.stdout if level == "I" else sys.stderr
        print(time.strftime("[%m/%d/%Y-%H:%M:%S]"), f"[{level}] {text}", file=stream, flush=True)

    def verdict(self, word):
        print(f"&&&& {word} {self.name} # {' '.join(self.words)}", file=sys.stdout, flush=True)


PARTS = {"onnx": "build", "exportLayerInfo": "layers", "loadInputs": "infer"}

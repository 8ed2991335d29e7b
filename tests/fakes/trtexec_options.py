"""What trtexec's option parser takes, by version; stricter than the real one, which reads past a bad value or two.

Names checked against samples/common/sampleOptions.cpp of NVIDIA/TensorRT at 8.2.1, 8.4.1, 8.5.2, v8.6.1, v10.0.1, v10.3.0,
v10.13.3, v10.16 and v11.0; options edgekd has no use for are left out, so that using one is an error here first.
"""

import re

FLAG = re.compile("")  # takes no value; the real one ignores a value, and --fp16=0 switches FP16 on
WHOLE = re.compile(r"\d+")
NUMBER = re.compile(r"\d+(\.\d+)?")
PATH = re.compile(r"[^,:]+")
_SINCE_8_2 = {
    "onnx": PATH, "saveEngine": PATH, "loadEngine": PATH, "timingCacheFile": PATH, "exportTimes": PATH, "exportOutput": PATH,
    "exportProfile": PATH, "exportLayerInfo": PATH, "loadInputs": re.compile(r"[^,:]+:[^,:]+"), "int8": FLAG, "fp16": FLAG,
    "noTF32": FLAG, "profilingVerbosity": re.compile("layer_names_only|detailed|none"), "iterations": WHOLE, "duration": WHOLE,
    "warmUp": WHOLE, "avgRuns": WHOLE, "percentile": WHOLE, "noDataTransfers": FLAG, "useSpinWait": FLAG, "useCudaGraph": FLAG,
    "separateProfileRun": FLAG, "dumpProfile": FLAG, "dumpLayerInfo": FLAG, "verbose": FLAG, "workspace": WHOLE,
    "buildOnly": FLAG,
}  # fmt: skip
_FROM_8_4 = {"memPoolSize": re.compile(r"workspace:\d+(\.\d+)?"), "duration": NUMBER, "warmUp": NUMBER}  # MiB; units came later
_FROM_8_5 = {"percentile": re.compile(r"\d+(\.\d+)?(,\d+(\.\d+)?)*")}
_FROM_8_6 = {"skipInference": FLAG, "builderOptimizationLevel": re.compile("[0-5]"), "dumpRawBindingsToFile": FLAG}
_FROM_10 = {"stronglyTyped": FLAG, "getPlanVersionOnly": FLAG}
_FROM_11 = {"noCudaGraph": FLAG, "noSpinWait": FLAG, "includeDataTransfers": FLAG}
_GONE_IN_10, _GONE_IN_11 = ("workspace", "buildOnly"), ("int8", "fp16")


def options_of(version):
    """{name: what its value must be} of a version such as (8, 2, 1)."""
    known = dict(_SINCE_8_2)
    additions = ((8, 4), _FROM_8_4), ((8, 5), _FROM_8_5), ((8, 6), _FROM_8_6), ((10, 0), _FROM_10), ((11, 0), _FROM_11)
    for since, added in additions:
        known.update(added if version >= since else {})
    gone = (*_GONE_IN_10, *_GONE_IN_11) if version >= (11,) else _GONE_IN_10 if version >= (10,) else ()
    return {name: value for name, value in known.items() if name not in gone}


def parse(words, version):
    """({name: value}, [error lines]) of a command line."""
    known, taken, errors = options_of(version), {}, []
    for word in words:
        name, equals, value = word.partition("=")
        bare = name.removeprefix("--")
        if not name.startswith("--") or bare not in known or bare in taken or (equals and known[bare] is FLAG):
            errors.append(f"Unknown option: {name} {value}")
        elif not known[bare].fullmatch(value):
            errors.append("stoi" if known[bare] is WHOLE else f"Invalid value for {name}: {value}")
        else:
            taken[bare] = value
    if not errors:
        errors += [] if "onnx" in taken or "loadEngine" in taken else ["Model missing or format not recognized"]
        errors += ["Incompatible load and save engine options selected"] if {"loadEngine", "saveEngine"} <= set(taken) else []
        errors += _contradictions(taken, version)
    return taken, errors


def _contradictions(taken, version):
    """What the real one only warns of, or silently does otherwise than meant."""
    typed = sorted({"int8", "fp16"} & set(taken))
    if "stronglyTyped" in taken and typed:
        yield f"Invalid usage, setting {typed[0]} mode is not allowed if graph is strongly typed."
    if (10, 12) <= version < (11,) and "onnx" in taken and "stronglyTyped" not in taken:
        yield "Weakly-typed networks have been deprecated"
    building = {"saveEngine", "int8", "fp16", "stronglyTyped", "workspace", "memPoolSize", "builderOptimizationLevel",
                "timingCacheFile", "profilingVerbosity"}  # fmt: skip
    if "loadEngine" in taken and building & set(taken):
        yield f"A loaded engine takes no {sorted(building & set(taken))[0]}"
    if "onnx" in taken and not {"buildOnly", "skipInference"} & set(taken):
        yield "Building and running in one process is not what is meant here"
    if version < (11,) and {"dumpProfile", "exportTimes"} <= set(taken) and "separateProfileRun" not in taken:
        yield "No times are written while layers are watched, without --separateProfileRun"

"""The device room's own command line, with the standard library only; it is what ``python3 edgekd.pyz`` runs.

    predict IMG... [--bundle DIR] [--json] [--top K]   what the bundle sees in images
    verify [DIR]                                       every byte and every golden case of a bundle
    agent VERB --token T [--hold]                      answer one request of a host (see agent.py)

The bundle is the folder this file lies in, unless given.
"""

import argparse
import json
import os
import sys

from . import agent, archive, loader, proof
from .problem import Problem


def main(arguments):
    """Run one command; returns the exit status. Problems go to stderr as text, or to stdout as JSON with --json."""
    options = _parser().parse_args(arguments)
    for stream in (sys.stdout, sys.stderr):  # a label must not break the print on a terminal that knows only ASCII
        if hasattr(stream, "reconfigure"):  # Python 3.7
            stream.reconfigure(errors="backslashreplace")
    if options.command == "agent":
        return agent.serve(options.verb, options.token, options.hold)
    try:
        try:
            status = _predict(options) if options.command == "predict" else _verify(options)
            sys.stdout.flush()
            return status
        except OSError as error:  # images and bundles that cannot be read are Problems already
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is still to be written would be tried again at the end
            raise Problem("environment", "the answer cannot be written: %s" % error.strerror)
    except Problem as problem:
        if getattr(options, "json", False):
            print(json.dumps({"error": problem.as_json()}))
        for line in [str(problem)] + ["  %s: %s" % pair for pair in (("seen", problem.seen), ("try", problem.fix)) if pair[1]]:
            sys.stderr.write(line + "\n")
        return problem.exit_code


def _predict(options):
    predictions = loader.load(options.bundle or _own_folder()).predict(options.images, top=options.top)
    named = [dict(one, image=options.images[index]) for index, one in enumerate(predictions)]
    if options.json:
        print(json.dumps({"predictions": named}, ensure_ascii=False))
    else:
        for one in named:
            print("%s: %s" % (one["image"], ", ".join("%s %.3f" % (best["label"], best["probability"]) for best in one["top"])))
    return 0


def _verify(options):
    folder = options.bundle or _own_folder()
    lines, _, not_run = proof.examine(folder)
    for line in lines + ["%s: NOT run here: %s" % one for one in sorted(not_run.items())]:
        print(line)
    if lines:
        raise Problem("integrity", "the bundle is damaged: %d differences" % len(lines), folder, fix="copy the bundle again")
    cases = "every golden case that could run here" if not_run else "every golden case"
    print("%s: every file and %s agree" % (folder, cases))
    return 0


def _own_folder():
    """The folder the zipapp lies in; the working folder when the code runs from sources."""
    zipped = archive.zip_path()
    return os.path.dirname(zipped) if zipped else os.getcwd()


def _parser():
    parser = argparse.ArgumentParser(prog="edgekd.pyz", description="Predict with a bundle, verify it, or serve a host.")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.required = True
    predict = commands.add_parser("predict", help="classify images")
    predict.add_argument("images", nargs="+", metavar="IMG")
    predict.add_argument("--bundle", metavar="DIR", help="the bundle's folder (default: where this file lies)")
    predict.add_argument("--json", action="store_true", help="one JSON document on stdout")
    predict.add_argument("--top", type=_positive, default=1, metavar="K", help="how many classes to list (default: 1)")
    verify = commands.add_parser("verify", help="compare a bundle with its manifest and run its golden cases")
    verify.add_argument("bundle", nargs="?", metavar="DIR")
    serve = commands.add_parser("agent", help="answer one request on stdin")
    serve.add_argument("verb")
    serve.add_argument("--token", required=True)
    serve.add_argument("--hold", action="store_true", help="end when stdin ends")
    return parser


def _positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

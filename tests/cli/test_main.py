"""The command line as a stranger meets it: help, wrong words, versions, and what it must not load."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

from edgekd import __version__
from edgekd.cli import COMMANDS, main

HEAVY = {"torch", "torchvision", "numpy", "PIL", "onnx", "onnxruntime", "pydantic", "ruamel", "rich", "jinja2", "safetensors"}


def in_fresh_interpreter(*words: str) -> list[str]:
    """Names of the top-level modules that were loaded when the command ended."""
    code = "import sys; sys.argv = ['edgekd', *sys.argv[1:]]\nfrom edgekd.cli import main\ntry: main()\nexcept SystemExit: pass\n"
    code += "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    return done.stdout.split("\n")[-2].split()


@pytest.mark.parametrize(
    "words", [("--help",), ("--version",), ("chek",), *((name, "--help") for name in COMMANDS)], ids=" ".join
)
def test_help_loads_nothing_heavy(words):
    assert not HEAVY & set(in_fresh_interpreter(*words))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_is_named_like_its_module(name):
    result = CliRunner().invoke(main, [name, "--help"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith(f"Usage: edgekd {name} ")
    command = main.get_command(None, name)
    assert (command.name, bool(command.help)) == (name, True)


def test_the_list_of_commands_is_complete_and_whole_sentences():
    lines = CliRunner().invoke(main, ["--help"]).stdout.split("Commands:\n")[1].splitlines()
    assert [line.split()[0] for line in lines] == list(COMMANDS)


def test_version():
    result = CliRunner().invoke(main, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"edgekd {__version__}\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["chek", "a.yaml"], "Error: no command 'chek'; did you mean 'check'?"),
        (["frobnicate"], "Error: no command 'frobnicate'"),
        (["check"], "Error: Missing argument 'RECIPE'."),
        (["check", "--sett", "a=1", "a.yaml"], "--sett"),
        (["schema", "recipee"], "recipee"),
    ],
)
def test_a_wrong_word_is_bad_input_and_says_where_help_is(words, said):
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert "--help' for help." in result.stderr


def test_no_words_at_all_show_the_help():
    result = CliRunner().invoke(main, [])
    assert result.exit_code == 2
    assert "Commands:" in result.stderr


def test_an_empty_run_dir_is_no_folder():
    result = CliRunner().invoke(main, ["pipeline", "a.yaml", "--run-dir", ""])
    assert result.exit_code == 2 and "--run-dir" in result.stderr and "empty" in result.stderr

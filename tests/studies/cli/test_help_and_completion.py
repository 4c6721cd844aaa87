"""Every command shows an example that its own options take; a shell completes verbs and names."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from studies.cli import main
from studies.cli.app import application

ROOT = Path(__file__).parents[3]


def leaves(command, path=()):
    """Commands that run something, with the words that lead to them."""
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
    else:
        for name, child in children.items():
            yield from leaves(child, (*path, name))


LEAVES = dict(leaves(typer.main.get_command(application(None))))


def test_there_are_all_verbs():
    assert len(LEAVES) > 25
    assert {("run",), ("init",), ("config", "schema")} <= set(LEAVES)


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_the_example_of_a_command_can_be_typed(path):
    (example,) = re.findall(r"^Example: attnflow (.+)$", LEAVES[path].help, re.MULTILINE)
    words = shlex.split(example)
    assert tuple(words[: len(path)]) == path
    LEAVES[path].make_context(words[0], words[len(path) :])


@pytest.mark.parametrize(
    ("typed", "position", "found"),
    [
        ("attnflow se", 1, {"search"}),
        ("attnflow run sdpa.na", 2, {"sdpa.naive"}),
        ("attnflow run flash.q_outer --chip h200", 4, {"h200_sxm_141g"}),
    ],
)
def test_a_shell_completes(typed, position, found):
    asked = {"_ATTNFLOW_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(position)}
    ran = subprocess.run(
        [sys.executable, "-m", "studies"],
        env=os.environ | asked,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert found <= set(ran.stdout.split()), ran.stderr


def test_a_mistyped_choice_gets_the_nearest(capsys):
    assert main(["list", "chip"]) == 2
    assert "; did you mean 'chips'?" in capsys.readouterr().err


def test_a_field_of_a_chip_is_called_the_same_everywhere(capsys):
    for name in ("hbm.count=6", "chip.hbm.count=6"):
        assert main(["show", "chip", "h100", "--set", name]) == 0
    capsys.readouterr()

"""Everything that the README and the documents show is run and prints what they say.

``console`` blocks hold commands behind ``$`` and what they print on stdout; ``...`` stands for anything, and
``echo $?`` prints the exit code of the command before. A ``python`` block is followed by a ``text`` block with
what it prints. A ``yaml`` block is a file whose name is its first line. Make targets and links must exist.
"""

from __future__ import annotations

import doctest
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from studies.cli.verb import all_verbs

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs/guide").glob("*.md")))
}
BLOCKS = {page: [(match.group(1), match.group(2)) for match in BLOCK.finditer(text)] for page, text in PAGES.items()}
CONSOLES = [(page, text) for page, blocks in BLOCKS.items() for kind, text in blocks if kind == "console"]
PROGRAMS = [
    (page, text, blocks[i + 1])
    for page, blocks in BLOCKS.items()
    for i, (kind, text) in enumerate(blocks)
    if kind == "python"
]
FILES = {
    page: {text.partition("\n")[0][2:]: text for kind, text in blocks if kind == "yaml"}
    for page, blocks in BLOCKS.items()
}
MOST_LINES = 250
TIMEOUT_S = 600


@pytest.fixture
def here(root, tmp_path):
    """Function that makes a folder that looks like the top of a clone, with the files that a page shows."""

    def make(page):
        for folder in ("studies", "tests"):
            (tmp_path / folder).symlink_to(root / folder)
        for name, text in FILES[page].items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        return tmp_path

    return make


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, "-P", *arguments],  # the installed packages, not those of the folder
        cwd=folder,
        # tables are as wide as the terminal; this is what one without a terminal gets
        env=os.environ | {"COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def differences(got, want):
    """Empty if `got` is what the README shows, else a message."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if doctest.OutputChecker().check_output(want, got, flags):
        return ""
    return f"the README shows\n{want}\nbut it is\n{got}"


def commands_of(console):
    """Pairs of a command and the text below it."""
    parts = re.split(r"^\$ (.*)\n", console, flags=re.MULTILINE)
    assert not parts[0].strip(), "a console block begins with a command"
    return list(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(
    ("page", "console"), CONSOLES, ids=[f"{page}: {text.partition(chr(10))[0][2:42]}" for page, text in CONSOLES]
)
def test_commands_print_what_a_page_shows(page, console, here):
    code, folder = None, here(page)
    for command, want in commands_of(console):
        words = shlex.split(command, comments=True)
        if words == ["echo", "$?"]:
            assert int(want) == code
            continue
        if words[0] == "cat":
            got = (folder / words[1]).read_text(encoding="utf-8")
        else:
            assert words[0] == "attnflow", command
            result = run(folder, "-m", "studies", *words[1:])
            assert "Traceback" not in result.stderr, result.stderr
            code, got = result.returncode, result.stdout if result.stdout else result.stderr
        assert not differences(got, want), differences(got, want)


@pytest.mark.parametrize(
    ("page", "program", "shown"), PROGRAMS, ids=[f"{page}: {i}" for i, (page, *_) in enumerate(PROGRAMS)]
)
def test_programs_print_what_a_page_shows(page, program, shown, here):
    assert shown[0] == "text", "a python block is followed by a text block: what it prints"
    result = run(here(page), "-c", program)
    assert result.returncode == 0, result.stderr
    assert not differences(result.stdout, shown[1]), differences(result.stdout, shown[1])


def test_there_is_something_to_run():
    assert len(CONSOLES) >= 20
    assert len(PROGRAMS) >= 4
    assert len(PAGES) > 12


def test_the_readme_can_be_read_in_one_go():
    lines = README.splitlines()
    assert len(lines) < MOST_LINES
    screen = "\n".join(lines[:20])
    assert "![" in screen and screen.count("make ") >= 3
    headings = [line[3:] for line in lines if line.startswith("## ")]
    assert headings.index("Limits") == 0
    linked = set(re.findall(r"\]\(#([a-z-]+)\)", README))
    assert linked == {heading.lower().replace(" ", "-") for heading in headings}


def test_every_verb_is_shown():
    verbs = {entry.name for entry in all_verbs()}
    shown = {command.split()[1] for _, console in CONSOLES for command, _ in commands_of(console) if " " in command}
    mentioned = shown | set(re.findall(r"`attnflow (\w+)", README))
    assert {"run", "sweep", "report"} <= verbs
    assert sorted(verbs - mentioned) == []


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_targets_exist(root):
    targets = set(re.findall(r"\bmake ([a-z][a-z-]*)", README))
    assert {"demo", "test"} <= targets
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    assert targets <= set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))


def test_links_lead_somewhere(root, tracked_files):
    tracked = {path.as_posix() for path in tracked_files}
    folders = {parent.as_posix() for path in tracked_files for parent in path.parents}
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert links
    for link in links:
        assert link.rstrip("/") in tracked | folders, f"{link} is not in the project"


def test_links_of_the_page_for_contributors_lead_somewhere(root):
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#:]+)\)", text)
    assert len(links) > 8
    assert [link for link in links if not (root / link).exists()] == []
    rooms = re.findall(r"`([a-z_]+/[a-z_/]+)/?`", text)
    assert len(rooms) > 30
    assert [room for room in rooms if not (root / room).is_dir()] == []


def test_every_entry_point_is_on_the_page_for_contributors(root, packages):
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    sources = [path.read_text(encoding="utf-8") for package in packages for path in (root / package).rglob("*.py")]
    groups = {group for source in sources for group in re.findall(r'"(attnflow\.[a-z_]+)"', source)}
    assert len(groups) > 7
    assert sorted(group for group in groups if f"`{group}`" not in text) == []

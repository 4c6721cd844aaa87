"""Tracked files hold nothing that only the machine they were written on has."""

from __future__ import annotations

import re

import pytest

# written in parts, so that this file does not hold what it looks for
FORBIDDEN = {
    "absolute path of one machine": r"(?<![\w.:/~-])/(?:work|root|tmp|home|Users)/",
    "path outside the checkout": r"\.\./" + "shared",
    "host of a package registry": r"pypi\." + r"org|python" + r"hosted\.org|registry\." + r"npmjs|anaconda\." + "org",
    "private key": "-----BEGIN [A-Z ]*PRIVATE" + " KEY",
    "conflict left by a merge": r"^(?:<{7}|>{7}) ",
}
PATTERNS = {name: re.compile(pattern, re.MULTILINE) for name, pattern in FORBIDDEN.items()}


def text_of(path):
    """Text of a file, None for a binary one."""
    content = path.read_bytes()
    return None if b"\0" in content[:4096] else content.decode("utf-8")


@pytest.mark.parametrize("what", PATTERNS)
def test_no_tracked_file_holds(what, root, tracked_files):
    found = []
    for path in tracked_files:
        text = text_of(root / path)
        for match in PATTERNS[what].finditer(text or ""):
            found.append(f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()!r}")
    assert not found, f"{what}: " + "; ".join(found)


@pytest.mark.parametrize(
    ("what", "sample"),
    [
        ("absolute path of one machine", "see /" + "home/someone/notes.txt"),
        ("absolute path of one machine", '"/' + 'tmp/x"'),
        ("path outside the checkout", "open('../" + "shared/facts.md')"),
        ("host of a package registry", "https://" + "pypi." + "org/simple"),
        ("conflict left by a merge", "<" * 7 + " HEAD"),
    ],
)
def test_the_patterns_find(what, sample):
    assert PATTERNS[what].search(sample)


@pytest.mark.parametrize("sample", ["https://arxiv.org/home/x", "a/work/b.py", "~/tmp/x", "src/root/x"])
def test_the_patterns_leave_links_and_relative_paths_alone(sample):
    assert not PATTERNS["absolute path of one machine"].search(sample)

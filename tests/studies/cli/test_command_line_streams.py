"""Commands and what they write to: closed or narrow streams, names that steer terminals, plug-ins, Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from studies.cli import main
from studies.cli.printing import harmless

ROOT = Path(__file__).parents[3]
RUN = [sys.executable, "-m", "studies", "run", "sdpa.naive", "--seq-len", "8", "--head-dim", "4", "-q"]
STEERING = "\x1b[31mred \x1b]0;title\x07 \r \u202e gnp.exe \x9b"
STUDY = """
name: {name}
workload: {{seq_len: 8, head_dim: 4}}
algorithm: sdpa.naive
timing_only: true
axes: {{exp_latency: [1, 2]}}
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def shell(words, folder, **environment):
    """A command in a shell, which can close streams, in a process of its own."""
    line = " ".join(words)
    known = {"PYTHONPATH": str(ROOT)} | environment
    return subprocess.run(
        line, shell=True, cwd=folder, env=os.environ | known, capture_output=True, text=True, timeout=600, check=False
    )


def write_study(folder, name):
    escaped = name.encode("unicode_escape").decode().replace('"', '\\"')
    (folder / "s.yaml").write_text(STUDY.format(name=f'"{escaped}"'))
    return "s.yaml"


# --- streams --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_result_that_nobody_can_take_is_one_line(tmp_path, form):
    done = shell([*RUN, *form, ">&-"], tmp_path)
    assert done.returncode == 2
    assert done.stderr == "the result cannot be written: stdout is closed\n"


def test_without_anybody_to_listen_to_errors_the_exit_code_says_it(tmp_path):
    assert shell([*RUN, "2>&-"], tmp_path).returncode == 0
    assert shell([*RUN, "--set", "no_such=1", "2>&-"], tmp_path).returncode == 2


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    done = shell([sys.executable, "-m", "studies", "list", "--json", "|", "head", "-c", "1"], tmp_path)
    assert (done.stdout, done.stderr) == ("{", "")
    longer = f"{sys.executable} -m studies list --json; echo $? > code"
    shell([f"({longer}) | true"], tmp_path)
    assert (tmp_path / "code").read_text() == "0\n"


def test_a_narrow_encoding_shows_what_it_has_not_as_numbers(tmp_path):
    write_study(tmp_path, "näme 研究")
    done = shell(
        [sys.executable, "-m", "studies", "sweep", "s.yaml", "--jobs", "0"], tmp_path, PYTHONIOENCODING="ascii"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("n\\xe4me \\u7814\\u7a76: 2 of 2 points done")
    assert "Traceback" not in done.stderr


# --- names ----------------------------------------------------------------------------------------------------------


def steers(text):
    return sorted(set(text) & set("\x1b\x07\r\x9b\u202e"))


def test_no_name_of_a_study_steers_the_terminal(here, capsys):
    write_study(here, STEERING)
    assert main(["sweep", "s.yaml", "--jobs", "0", "--store", "s.sqlite"]) == 0
    assert main(["report", "s.sqlite", "-o", "esc\x1b[31mX.html"]) == 0
    assert main(["report", "s.sqlite", "--study", STEERING + "?"]) == 2
    found = capsys.readouterr()
    assert steers(found.out + found.err) == []
    assert "\\x1b[31mred" in found.out


def test_no_name_of_a_chip_steers_the_terminal(here, capsys):
    text = (ROOT / "tests" / "hwmodels" / "chips" / "own_chip.yaml").read_text(encoding="utf-8")
    first = next(line for line in text.splitlines() if line.startswith("name:"))
    (here / "chip.yaml").write_text(text.replace(first, f'name: "{STEERING.encode("unicode_escape").decode()}"'))
    assert main(["show", "chip", "chip.yaml"]) == 0
    found = capsys.readouterr()
    assert steers(found.out + found.err) == []
    assert "\\x1b[31mred" in found.out


@pytest.mark.parametrize("name", ["../up", "a/b", "/etc/x", "..", "\x00", "x" * 200, "ü" * 200])
def test_the_usual_store_is_in_its_folder_whatever_a_study_is_called(here, name):
    (here / "out").mkdir()
    write_study(here, name)
    before = set(here.parent.rglob("*"))
    code = main(["sweep", "s.yaml", "--jobs", "0", "--quiet"])
    made = {path for path in set(here.parent.rglob("*")) - before if path.suffix == ".sqlite"}
    assert code == 0
    assert {path.parent for path in made} == {here / "out"}
    assert len(made) == 1


def test_a_name_has_an_end(here, capsys):
    write_study(here, "x" * 900_000)
    assert main(["sweep", "s.yaml", "--jobs", "0"]) == 2
    assert len(capsys.readouterr().err) < 500


@pytest.mark.parametrize("plain", ["", "tab\tand\nline", "näme 研究 \U0001f600"])
def test_text_that_steers_nothing_stays_as_it_is(plain):
    assert harmless(plain) == plain


def test_a_list_keeps_to_the_lines_of_a_terminal_and_is_whole_in_a_file(capsys, monkeypatch):
    assert main(["list", "chips"]) == 0
    whole = capsys.readouterr().out.splitlines()
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    assert main(["list", "chips", "--quiet"]) == 0
    narrow = capsys.readouterr().out.splitlines()
    assert max(map(len, whole)) > 60 >= max(map(len, narrow))
    assert [line.split()[:1] for line in narrow] == [line.split()[:1] for line in whole]
    assert sum(line.endswith("…") for line in narrow) > 3


# --- plug-ins -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "why"),
    [("import sys; sys.exit(7)", "it ends the program (7)"), ("raise OSError('no licence')", "no licence")],
)
@pytest.mark.parametrize("group", ["algorithms", "verbs", "families", "tiers"])
def test_a_plug_in_that_fails_is_left_out_with_a_line_and_ends_no_command(distribution_of, group, source, why):
    folder = distribution_of(f"attnflow.{group}", source)
    for words in (["run", "sdpa.naive", "--seq-len", "8", "--head-dim", "4", "--json"], ["list", "algorithms"]):
        done = shell([sys.executable, "-m", "studies", *words], folder, PYTHONPATH=f"{ROOT}{os.pathsep}{folder}")
        assert done.returncode == 0, done.stderr
        told = [line for line in done.stderr.splitlines() if "plug-in" in line]
        assert set(told) <= {f"plug-in broken (broken_plug_in) does not load and is left out: {why}"}
    assert "Traceback" not in done.stderr


@pytest.fixture
def distribution_of(tmp_path):
    """Makes a folder with a distribution whose entry point of some group names a module."""

    def make(group, source):
        (tmp_path / "broken_plug_in.py").write_text(source)
        about = tmp_path / "broken-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[{group}]\nbroken = broken_plug_in\n")
        return tmp_path

    return make


# --- Ctrl-C ---------------------------------------------------------------------------------------------------------

LONG = ["run", "sdpa.naive", "--no-skip", "--seq-len", "16384", "--head-dim", "16", "--timing-only"]


@pytest.mark.parametrize("wait_s", [0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("twice", [False, True])
def test_ctrl_c_is_130_at_any_time(tmp_path, wait_s, twice):
    code = "from studies.cli import entry; print(end='.', flush=True); entry()"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(
        [*command, *LONG],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.read(1) == "."
        time.sleep(wait_s)
        process.send_signal(signal.SIGINT)
        if twice:
            time.sleep(0.02)
            process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "Traceback" not in errors


INTERRUPTED_WHERE_EXCEPTIONS_ARE_LOST = """
import signal
from studies.cli import app, entry

def lost(arguments=None):
    try:
        signal.raise_signal(signal.SIGINT)
    except BaseException:
        pass
    print("goes on")
    return 0

app.run_command_line = lost
entry()
"""


def test_ctrl_c_is_130_where_an_exception_would_be_lost():
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHERE_EXCEPTIONS_ARE_LOST, "run"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


INTERRUPTED_AMONG_VALUES = """
import signal
from algorithms.chip.attention import low_rank

def expanding(*values, plain=low_rank._expand_queries, **named):
    calls.append(1)
    if len(calls) == 3:
        print("third tile", flush=True)
        signal.raise_signal(signal.SIGINT)
    return plain(*values, **named)

calls = []
low_rank._expand_queries = expanding
from studies.cli import entry
entry()
"""


def test_ctrl_c_among_the_longest_values_is_130(tmp_path):
    shape = ["--seq-len", "135", "--set", "workload.kv_len=130", "--heads", "14", "--batch", "3"]
    command = ["run", "flash.low_rank", "--chip", "h100", *shape, "--head-dim", "64", "--set", "tile_rows=3"]
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_AMONG_VALUES, *command],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.stdout == "third tile\n"
    assert done.returncode == 130
    assert "Traceback" not in done.stderr

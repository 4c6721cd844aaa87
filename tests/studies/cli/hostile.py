"""Hostile inputs for the command line, from a seed: SEED FIRST LAST FOLDER runs those inputs, one line each.

Each input is a command with the files that it names, made from sound ones: entries of YAML files exchanged, dropped and
doubled, bytes of stores and archives turned, cells of stores written over, words of command lines exchanged. An input
must end with one of the exit codes that are promised, without a traceback, within its processor time, and without a
file outside its own folder. The number of an input is written before it runs, so that one that kills the process has a
name.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

CODES = frozenset({0, 1, 2, 3, 130})
CPU_LIMIT_S = 120.0
"""Processor time of one input, after which the system ends the process: far more than any takes."""

STUDY = """name: small
title: A small study
algorithm: sdpa.naive
workload: {seq_len: 8, head_dim: 4, heads: 2, kv_heads: 1}
parameters: {exp_cycles: 2}
timing_only: true
axes:
  exp_latency: [1, 4]
  fifo_depth: {from: 2, to: 4, step: 1}
objectives: [cycles, fifo.capacity_bytes]
constraints: ["cycles <= 100000"]
clock: 1 GHz
tensors: t.npz
"""
CHIP = """name: my_chip
kind: custom
summary: Sixteen arrays
node_nm: 7
clock_hz: 1 GHz
cores: 16
core:
  matrix_flops_per_cycle: {bfloat16: 2048}
  matrix_rows: 1
  matrix_columns: 32
  matrix_depth: 32
  vector_flops_per_cycle: 64
  exp_per_cycle: 16
  sram_bytes: 256 KiB
  sram_bytes_per_cycle: 256
  register_bytes: 4 KiB
tiers:
  lpddr:
    level: memory
    technology: lpddr5
    capacity_bytes: 16 GB
    bytes_per_second: 51.2 GB/s
    latency_s: 100 ns
"""
PRESET = Path(__file__).parents[3] / "hwmodels" / "tiers" / "presets" / "ddr4_3200_group_low.yaml"
_LINES = PRESET.read_text(encoding="utf-8").splitlines()
TIER = "\n".join(
    [
        "kind: dram",
        "name: mine",
        "summary: A tier of one's own",
        "standard: ddr4_3200",
        "count: 1",
        "controller: {policy: ramulator2, page: close, read_depth: 32, write_depth: 32, drain_high: 26, drain_low: 6}",
        *_LINES[_LINES.index("energy:") : _LINES.index("mapping:")],
    ]
)
WORKLOAD = """name: mine
source: nowhere
phase: prefill
heads: 4
kv_heads: 2
q_len: 16
kv_len: 16
head_dim: 8
mask: causal
dtype: bfloat16
"""
NASTY: list[object] = [
    None, True, False, 0, -1, 1, 2, 3, 7, 0.5, -0.0, 1e-320, 1e30, 1e308, 10**13, 2**63, -(2**63), 10**400,
    float("nan"), float("inf"), "", " ", "nan", "-inf", "1e999", "0x10", "1_0", "٣", "1 GHz", "1 parsec", "-3 KiB",
    "1e30 TB/s", "\x00", "\x1b[31m", "\u202e", "\ud800", "ä" * 300, "a" * 5000, "../../x", "/etc/passwd", "/", ".",
    "t.npz", "s.sqlite", "study.yaml", "none.yaml", "sdpa.naive", "flash.q_outer", "h100", "llama3-8b", "{}", "[[[[",
    "&a [*a]", "!!python/object:os.system", "<<: {a: 1}", "- - - -", "? :", "%", "{{}}", "\t", "$(id)", "'", '"',
    [], [1], [[1]], {}, {"from": 1, "to": 3, "step": 1}, {"values": []}, {"a": {"b": {"c": []}}}, ["sdpa.naive", 7],
]  # fmt: skip
"""Values that are anything but what an entry expects; none makes a design that takes long."""
MILD: list[object] = [
    1, 2, 3, 4, 8, 16, 0.5, True, False, "1 GHz", "64 KiB", "1 TB/s", "10 ns", "full", "causal", "float16", "decode",
    "open", "close", "dramsim3", "memory", "custom", [1, 2], {"from": 1, "to": 3, "step": 1},
]  # fmt: skip
"""Values that some entries take, so that inputs come further than the first reader."""
OPTIONS = [
    "--seq-len", "--head-dim", "--heads", "--kv-heads", "--batch", "--set", "--chip", "--workload", "--tensors",
    "--context", "--engine", "--clock", "--kernel", "--memory", "--mapping", "--seed", "--mask", "--dtype", "--policy",
    "--timing-only", "--json", "-q", "--no-skip", "--help", "-x", "--", "--window", "--max-events", "--text", "--store",
    "--jobs", "--study", "--title", "--tolerance", "--validation", "--time-limit", "--memory-limit", "--granularity",
    "-o", "--output",
]  # fmt: skip
VERBS = [
    "run",
    "explain",
    "trace",
    "show",
    "list",
    "draw",
    "compare",
    "report",
    "sweep",
    "config",
    "advise",
    "search",
    "x",
    "",
]
NOUNS = [
    "sdpa.naive", "sdpa.memory_free", "flash.q_outer", "decode.split_kv", "mla.seq", "tier.probe", "dam.composed_naive",
    "algorithm", "chip", "tier", "workload", "chips", "tiers", "metrics", "depths", "check", "show", "h100", "hbm3",
    "study.yaml", "chip.yaml", "tier.yaml", "workload.yaml", "s.sqlite", "t.npz", "none", "s.sqlite:small",
]  # fmt: skip
SMALL = ["--seq-len", "8", "--head-dim", "4", "--timing-only"]
"""Keeps whatever is run in spite of all from being large."""


def any_value(draw: random.Random) -> object:
    """A value, nasty or mild."""
    return draw.choice(NASTY if draw.random() < 0.6 else MILD)


def dumped(value: object) -> str:
    """A value as YAML writes it on a line; texts half the time as they are."""
    text = json.dumps(value)
    return value if isinstance(value, str) and "\n" not in value and len(value) % 2 else text


def mutated(text: str, draw: random.Random) -> bytes:
    """A sound YAML file after one to four mishaps."""
    lines = text.splitlines()
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        at = draw.randrange(len(lines)) if lines else 0
        kind = draw.randrange(13)
        if not lines or kind == 0:
            lines.insert(
                at, f"{draw.choice(['axes', 'no_such', 'name', 'tiers', 'x.y', ''])}: {dumped(any_value(draw))}"
            )
        elif kind == 1:
            del lines[at]
        elif kind == 2:
            lines.insert(at, lines[at])
        elif kind == 3:
            lines[at] = draw.choice(["", " ", "    ", "\t"]) + lines[at].lstrip()
        elif kind == 4:
            words = lines[at].split(" ")
            words[draw.randrange(len(words))] = dumped(any_value(draw))
            lines[at] = " ".join(words)
        elif kind > 7:
            lines[at] = re.sub(r"\b\d+\b", lambda found: nudged(found[0], draw), lines[at], count=draw.randint(1, 2))
        else:
            key, colon, _ = lines[at].partition(":")
            lines[at] = f"{key}{colon or ':'} {dumped(any_value(draw))}"
    found = bytearray("\n".join(lines).encode("utf-8", "surrogatepass"))
    if draw.random() < 0.15:
        turn_bytes(found, draw)
    return bytes(found)


def nudged(number: str, draw: random.Random) -> str:
    """A number near to one that is right, so that the file as a whole may still make sense."""
    factor = draw.choice([0, 0.5, 0.75, 2, 3, 10, -1])
    return f"{int(number) * factor:g}"


def turn_bytes(content: bytearray, draw: random.Random) -> None:
    """Change some bytes, or leave the rest out."""
    for _ in range(draw.randint(1, 12)):
        if content:
            content[draw.randrange(len(content))] = draw.randrange(256)
    if draw.random() < 0.3:
        del content[draw.randrange(len(content) + 1) :]


def hurt_store(path: Path, draw: random.Random) -> None:
    """Turn bytes of a store, or write over some of its cells."""
    if draw.random() < 0.4:
        content = bytearray(path.read_bytes())
        turn_bytes(content, draw)
        path.write_bytes(bytes(content))
        return
    cells = {
        "points": ["point", "metrics", "detail", "error", "traceback", "wall_s", "time_utc", "attempt", "run"],
        "runs": ["provenance"],
        "studies": ["description", "study"],
        "grid": ["study", "position", "key"],
    }
    table = draw.choice(list(cells))
    column = draw.choice(cells[table])
    value = draw.choice([*NASTY, {"cycles": draw.choice(NASTY)}, {"algorithm": "x", "parameters": draw.choice(NASTY)}])
    if isinstance(value, dict | list):
        value = json.dumps(value)
    elif isinstance(value, int) and abs(value) >= 2**63:
        value = str(value)
    elif isinstance(value, str):
        value = value.encode("utf-8", "backslashreplace").decode()
    database = sqlite3.connect(path)
    with contextlib.closing(database), contextlib.suppress(sqlite3.Error), database:
        database.execute(f"UPDATE {table} SET {column} = ? WHERE rowid % 2 = 0 OR 1", (value,))
    with contextlib.closing(sqlite3.connect(path)) as database, contextlib.suppress(sqlite3.Error), database:
        database.execute(f"UPDATE {table} SET {column} = ?", (value,))


class Inputs:
    """Makes the inputs of a seed.

    Parameters
    ----------
    sound
        Folder with a sound store and archive, which inputs copy.
    """

    def __init__(self, sound: Path) -> None:
        self.sound = sound
        self.kinds: list[Callable[[random.Random, Path], list[str]]] = [
            self.study, self.study, self.chip, self.tier, self.workload, self.tensors, self.store, self.store,
            self.table, self.words, self.words,
        ]  # fmt: skip

    def make(self, seed: int, number: int, folder: Path) -> list[str]:
        """Write the files of an input into `folder`; returns its command line."""
        draw = random.Random(f"{seed}/{number}")
        texts = {"study": STUDY, "chip": CHIP, "tier": TIER, "workload": WORKLOAD}
        for name, text in texts.items():
            (folder / f"{name}.yaml").write_text(text)
        for name in ("s.sqlite", "t.npz"):
            shutil.copy(self.sound / name, folder / name)
        return self.kinds[number % len(self.kinds)](draw, folder)

    def study(self, draw: random.Random, folder: Path) -> list[str]:
        """A study file, swept or checked."""
        (folder / "study.yaml").write_bytes(mutated(STUDY, draw))
        if draw.random() < 0.5:
            return ["config", "check", "study.yaml"]
        return ["sweep", "study.yaml", "--jobs", "0", "--time-limit", "20 s", *self._store(draw)]

    def _store(self, draw: random.Random) -> list[str]:
        return draw.choice([[], ["--store", "new.sqlite"], ["--store", "s.sqlite"], ["--json"]])

    def chip(self, draw: random.Random, folder: Path) -> list[str]:
        """A chip file, shown or run on."""
        (folder / "chip.yaml").write_bytes(mutated(CHIP, draw))
        run = [draw.choice(["run", "explain"]), "flash.q_outer", "--chip", "chip.yaml", "--dtype", "bfloat16", *SMALL]
        return draw.choice([["show", "chip", "chip.yaml"], run, [*run, "--json"]])

    def tier(self, draw: random.Random, folder: Path) -> list[str]:
        """A tier file, shown or measured."""
        (folder / "tier.yaml").write_bytes(mutated(TIER, draw))
        run = ["run", "tier.probe", "--set", "tier=tier.yaml", "--set", "transactions=200"]
        return draw.choice([["show", "tier", "tier.yaml"], run])

    def workload(self, draw: random.Random, folder: Path) -> list[str]:
        """A workload file, shown or run."""
        (folder / "workload.yaml").write_bytes(mutated(WORKLOAD, draw))
        run = ["run", "sdpa.memory_free", "--workload", "workload.yaml", "--timing-only"]
        return draw.choice([["show", "workload", "workload.yaml"], run])

    def tensors(self, draw: random.Random, folder: Path) -> list[str]:
        """An archive of tensors: bytes turned, or arrays of odd shapes, types and values."""
        path = folder / "t.npz"
        if draw.random() < 0.5:
            content = bytearray(path.read_bytes())
            turn_bytes(content, draw)
            path.write_bytes(bytes(content))
        else:
            shapes = [(1, 1, 8, 4), (8, 4), (1, 2, 8, 4), (0, 4), (8,), (1, 1, 8, 5), (2, 3, 8, 4), (1,) * 6]
            types = ["float64", "float16", "int8", "complex64", "U3", "bool", "datetime64[s]"]
            arrays = {
                name: (np.ones(draw.choice(shapes)) * draw.choice([0, 1, 1e3, 1e200, float("nan")])).astype(
                    draw.choice(types) if draw.random() < 0.3 else "float64"
                )
                for name in ("q", "k", "v")[: draw.choice([2, 3, 3, 3])]
            }
            np.savez(path, **arrays)
        return [
            "run",
            draw.choice(["sdpa.naive", "sdpa.memory_free"]),
            "--tensors",
            "t.npz",
            *draw.choice([[], ["--json"]]),
        ]

    def store(self, draw: random.Random, folder: Path) -> list[str]:
        """A store, told or gone on with."""
        hurt_store(folder / "s.sqlite", draw)
        commands = (
            ["report", "s.sqlite", "-o", "r.csv"],
            ["report", "s.sqlite", "-o", "r.html"],
            ["report", "s.sqlite", "-o", "r.json", "--study", "small"],
            ["sweep", "study.yaml", "--store", "s.sqlite", "--jobs", "0"],
            ["compare", "s.sqlite", "s.sqlite"],
        )
        return draw.choice(commands)

    def table(self, draw: random.Random, folder: Path) -> list[str]:
        """A table of results to show beside points."""
        table = {"kind": "dam", "cases": 1, "passed": 1, "failed": 0, "unsupported": 0, "groups": [], "rows": []}
        for _ in range(draw.randint(1, 3)):
            table[draw.choice(list(table))] = draw.choice(NASTY)
        content = bytearray(json.dumps(table).encode())
        if draw.random() < 0.3:
            turn_bytes(content, draw)
        (folder / "v.json").write_bytes(bytes(content))
        return ["report", "s.sqlite", "-o", "r.html", "--validation", "v.json"]

    def words(self, draw: random.Random, folder: Path) -> list[str]:
        """A command line of words that may or may not go together."""
        words = [draw.choice(VERBS), draw.choice(NOUNS)]
        for _ in range(draw.randint(0, 4)):
            words.append(draw.choice(OPTIONS if draw.random() < 0.6 else NOUNS))
            if draw.random() < 0.5:
                value = draw.choice(NASTY)
                text = value if isinstance(value, str) else json.dumps(value)
                if draw.random() < 0.3:
                    text = f"{draw.choice(['exp_cycles', 'fifo_depth', 'heads', 'chip.cores', 'x', ''])}={text}"
                words.append(text.replace("\x00", "\\0").encode("utf-8", "surrogatepass").decode("utf-8", "replace"))
        words += SMALL if words[0] in ("run", "explain", "trace", "draw") and draw.random() < 0.8 else []
        return words[:-1] if draw.random() < 0.1 else words


def make_sound(folder: Path) -> None:
    """A store and an archive without fault."""
    from studies.cli import main

    normal = np.random.default_rng(0).standard_normal
    np.savez(folder / "t.npz", q=normal((1, 2, 8, 4)), k=normal((1, 1, 8, 4)), v=normal((1, 1, 8, 4)))
    (folder / "study.yaml").write_text(STUDY.replace("tensors: t.npz\n", ""))
    with contextlib.chdir(folder):
        if main(["sweep", "study.yaml", "--store", "s.sqlite", "--jobs", "0", "-q"]) != 0:
            raise RuntimeError("the sound study does not run")


def run(words: list[str], folder: Path) -> tuple[object, str]:
    """Run an input; its exit code, and what is wrong with how it ended, or nothing."""
    from studies.cli import main

    out, err = io.StringIO(), io.StringIO()
    signal.setitimer(signal.ITIMER_PROF, CPU_LIMIT_S)
    try:
        with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(words)
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
    except BaseException:
        return None, traceback.format_exc()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if code not in CODES:
        return code, "exit code"
    if "Traceback" in err.getvalue():
        return code, err.getvalue()
    if code == 2 and not (err.getvalue() + out.getvalue()).strip():
        return code, "not a word"
    return code, ""


def everything_beside(root: Path, folder: Path) -> set[tuple[str, int]]:
    """Files of a tree outside one folder, with their sizes."""
    return {
        (str(path), path.stat().st_size)
        for path in root.rglob("*")
        if path.is_file() and not path.is_relative_to(folder) and path != folder
    }


def main_(seed: int, first: int, last: int, root: Path) -> None:
    """Run some inputs; prints their numbers, and what is wrong."""
    sound = root / "sound"
    sound.mkdir(parents=True)
    make_sound(sound)
    inputs = Inputs(sound)
    ends: Counter[str] = Counter()
    for number in range(first, last):
        folder = root / "a" / "b" / "c"
        shutil.rmtree(root / "a", ignore_errors=True)
        folder.mkdir(parents=True)
        words = inputs.make(seed, number, folder)
        sys.stdout.write(f"{number} {json.dumps(words)}\n")
        sys.stdout.flush()
        before = everything_beside(root, folder)
        code, wrong = run(words, folder)
        ends[f"{words[0] if words else ''} {code}"] += 1
        elsewhere = everything_beside(root, folder) ^ before
        if elsewhere:
            wrong += f"\nfiles outside its folder: {sorted(elsewhere)}"
        if wrong:
            sys.stdout.write(f"WRONG {number} {json.dumps(words)}: {code}: {wrong}\n")
    sys.stdout.write(f"END {json.dumps(ends)}\n")


if __name__ == "__main__":
    os.umask(0o077)
    main_(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))

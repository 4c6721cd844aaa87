"""The program that changes kernels makes changes that are changes, and its list of survivors is argued."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

import pytest

from simulator.engines.compiled.engine import run_compiled
from simulator.random_graphs import random_graph


@pytest.fixture(scope="module")
def mutate(root):
    loader = SourceFileLoader("mutate", str(root / ".ci" / "mutate"))
    module = module_from_spec(spec_from_loader("mutate", loader))
    sys.modules["mutate"] = module  # dataclasses look their module up
    loader.exec_module(module)
    return module


def test_every_mutant_is_another_program(mutate, root):
    for room in mutate.ROOMS.values():
        assert all((root / test).exists() for test in (*room.tests, *room.quick))
        for module in room.modules:
            source = ast.dump(ast.parse((root / module).read_text(encoding="utf-8")))
            found = list(mutate.mutants(module))
            assert found, module
            for mutant in found[:: max(1, len(found) // 12)]:
                assert ast.dump(ast.parse(mutant.text)) != source, mutant.name


def test_what_is_to_be_noticed_is_among_them(mutate):
    names = {mutant.name for mutant in mutate.mutants("simulator/engines/compiled/rings.py")}
    assert any("UNBOUNDED and" in name and "->" in name for name in names), "a condition that is forgotten"
    assert any("if ‹kept_words[at] != end - recent›: -> (False)" in name for name in names), "a check that is forgotten"
    fire = {mutant.name for mutant in mutate.mutants("simulator/engines/compiled/fire.py")}
    assert any("> " in name and ">= " in name for name in fire)


def test_names_tell_mutants_apart(mutate):
    for room in mutate.ROOMS.values():
        for module in room.modules:
            places = {(mutant.text, mutant.name) for mutant in mutate.mutants(module)}
            texts_of = {}
            for text, name in places:
                texts_of.setdefault(name, set()).add(text)
            # lines that are repeated as a whole are the only ones that share a name
            lines = [" ".join(line.split()) for line in (mutate.ROOT / module).read_text(encoding="utf-8").splitlines()]
            for name, texts in texts_of.items():
                line = name.removeprefix(f"{module}: ").rpartition(" -> ")[0].replace("‹", "").replace("›", "")
                assert len(texts) == 1 or lines.count(line) > 1 or line not in lines, name


def test_every_survivor_has_a_reason_and_exists(mutate):
    for name, why in mutate.known_survivors().items():
        module = name.partition(":")[0]
        assert name in {mutant.name for mutant in mutate.mutants(module)}, name
        assert len(why) > 20


def test_kernels_in_plain_python_are_the_compiled_ones(root):
    script = (
        "import plain_kernels, json, sys\n"
        "from simulator.engines.compiled.engine import run_compiled\n"
        "from simulator.random_graphs import random_graph\n"
        "ran = [run_compiled(random_graph(seed, max_iterations=60).freeze()) for seed in range(12)]\n"
        "assert plain_kernels.KERNELS and not run_compiled.__module__.startswith('plain')\n"
        "json.dump([[one.hashes, one.clock, one.stall, one.skipped.firings] for one in ran], sys.stdout)\n"
    )
    known = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{root / '.ci'}"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=known, cwd=root, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    compiled = [run_compiled(random_graph(seed, max_iterations=60).freeze()) for seed in range(12)]
    assert any(one.skipped.firings for one in compiled)
    told = [[list(map(list, one.hashes)), one.clock, one.stall, one.skipped.firings] for one in compiled]
    assert json.loads(done.stdout) == told


def test_verdicts_are_kept_and_a_mutant_that_nothing_notices_is_a_fault(mutate, tmp_path, monkeypatch, capfd):
    tests = ("tests/simulator/explain/test_stall_table.py",)
    module = "simulator/explain/stalls.py"
    monkeypatch.setattr(mutate, "LEDGERS", tmp_path)
    monkeypatch.setitem(mutate.ROOMS, "one test", mutate.Room((module,), tests, tests))
    real = next(iter(mutate.mutants(module)))
    harmless = replace(real, text=real.text.replace(real.after, f"({real.before})"), after="(the same)")
    assert real.text != harmless.text
    ledger = tmp_path / "one test.jsonl"
    assert mutate.try_room("one test", [real, harmless], jobs=1, most_compiled=0) == 1
    verdicts = [json.loads(line) for line in ledger.read_text().split("\n")[1:]]
    assert {each["key"]: each["verdict"] for each in verdicts} == {
        real.key: "noticed",
        harmless.key: "survives as plain Python",
    }
    assert {each["by"].partition("::")[0] for each in verdicts} == {tests[0], ""}
    assert "of 2 mutants 0 argued, 1 noticed, 1 survives as plain Python" in capfd.readouterr().out
    assert mutate.try_room("one test", [real, harmless], jobs=1, most_compiled=0) == 1
    assert len(ledger.read_text().splitlines()) == 1 + len(verdicts) == 3, "what is known is not tried again"
    with ledger.open("a") as file:
        file.write('\n{"key": "torn by a ki')
    assert mutate.try_room("one test", [real], jobs=1, most_compiled=0) == 0

"""The program that changes kernels makes changes that are changes, and its list of survivors is argued."""

from __future__ import annotations

import ast
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader

import pytest


@pytest.fixture(scope="module")
def mutate(root):
    import sys

    loader = SourceFileLoader("mutate", str(root / ".ci" / "mutate"))
    module = module_from_spec(spec_from_loader("mutate", loader))
    sys.modules["mutate"] = module  # dataclasses look their module up
    loader.exec_module(module)
    return module


def test_every_mutant_is_another_program(mutate, root):
    for room in mutate.ROOMS.values():
        assert all((root / test).exists() for test in room.tests)
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

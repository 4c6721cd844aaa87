"""The modules of the suite whose comparisons are used here, with few graphs."""

from __future__ import annotations

import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType


def suite(name: str) -> ModuleType:
    """A module of the suite's comparisons of engines."""
    path = Path(__file__).resolve().parents[2] / "tests" / "conformance" / f"{name}.py"
    loader = SourceFileLoader(f"few_{name}", str(path))
    module = sys.modules[loader.name] = module_from_spec(spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module

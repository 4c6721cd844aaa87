"""attnflow: attention on hardware, cycle by cycle. All that scripts and notebooks need, under one name.

>>> import attnflow
>>> found = attnflow.run("sdpa.memory_free", seq_len=16, head_dim=4, engine="simpy")
>>> found.cycles, found.deviation.rel_l2 < 1e-12
(263, True)

Nothing is imported before it is used; ``dir(attnflow)`` shows what there is. The packages beside this module are what
it hands out, and never import it.
"""

from __future__ import annotations

import importlib

TYPE_CHECKING = False  # type checkers know the name; importing typing would take longer than all the rest
if TYPE_CHECKING:
    # for editors and type checkers; `_HOMES` says the same to Python
    from algorithms.chip.algorithm import chip_algorithm as chip_algorithm
    from algorithms.kv.policy import KVPolicy as KVPolicy
    from algorithms.kv.policy import PolicyState as PolicyState
    from algorithms.kv.registry import kv_policy as kv_policy
    from algorithms.kv.registry import policy_names
    from algorithms.kv.text import parse_policy as parse_policy
    from algorithms.registry import algorithm as algorithm
    from algorithms.registry import get_algorithm as get_algorithm
    from algorithms.workload.text import draw_tensors as draw_tensors
    from algorithms.workload.text import load_workload as load_workload
    from algorithms.workload.text import workload_names
    from hwmodels.chips.accelerator import accelerator_names, load_accelerator
    from hwmodels.reading.errors import InputError as InputError
    from hwmodels.tiers.text import load_tier as load_tier
    from hwmodels.tiers.text import tier_names
    from reference.truth.oracle import attention as attention
    from simulator import Graph as Graph
    from simulator import operators as operators
    from simulator import simulate as simulate
    from studies.api import Study as Study
    from studies.cli.verb import verb as verb
    from studies.design import design as design
    from studies.design import run as run
    from studies.families.evaluate import evaluate as evaluate
    from studies.families.metrics import metric as metric
    from studies.points.find import all_algorithm_names
    from studies.report.registry import section as section
    from studies.reproductions.calculation import calculation as calculation
    from studies.reproductions.judging import reproduce as reproduce

    algorithms = all_algorithm_names
    chips = accelerator_names
    load_chip = load_accelerator
    policies = policy_names
    tiers = tier_names
    workloads = workload_names
    __version__: str

_HOMES = {
    "Graph": "simulator:Graph",
    "InputError": "hwmodels.reading.errors:InputError",
    "KVPolicy": "algorithms.kv.policy:KVPolicy",
    "PolicyState": "algorithms.kv.policy:PolicyState",
    "Study": "studies.api:Study",
    "algorithm": "algorithms.registry:algorithm",
    "algorithms": "studies.points.find:all_algorithm_names",
    "attention": "reference.truth.oracle:attention",
    "calculation": "studies.reproductions.calculation:calculation",
    "chip_algorithm": "algorithms.chip.algorithm:chip_algorithm",
    "chips": "hwmodels.chips.accelerator:accelerator_names",
    "design": "studies.design:design",
    "draw_tensors": "algorithms.workload.text:draw_tensors",
    "evaluate": "studies.families.evaluate:evaluate",
    "get_algorithm": "algorithms.registry:get_algorithm",
    "kv_policy": "algorithms.kv.registry:kv_policy",
    "load_chip": "hwmodels.chips.accelerator:load_accelerator",
    "load_tier": "hwmodels.tiers.text:load_tier",
    "load_workload": "algorithms.workload.text:load_workload",
    "metric": "studies.families.metrics:metric",
    "operators": "simulator:operators",
    "parse_policy": "algorithms.kv.text:parse_policy",
    "policies": "algorithms.kv.registry:policy_names",
    "reproduce": "studies.reproductions.judging:reproduce",
    "run": "studies.design:run",
    "section": "studies.report.registry:section",
    "simulate": "simulator:simulate",
    "tiers": "hwmodels.tiers.text:tier_names",
    "verb": "studies.cli.verb:verb",
    "workloads": "algorithms.workload.text:workload_names",
}
"""Where each name is defined, and as what."""

_PACKAGES = ("simulator", "hwmodels", "algorithms", "reference", "studies")

__all__ = list(_HOMES)
__all__ += ["__version__"]


def _refuse_hidden_packages() -> None:
    """Raise ImportError, with what to do, if Python finds something else under the name of one of the packages."""
    from importlib.util import find_spec
    from pathlib import Path

    here = Path(__file__).resolve().parent
    for package in _PACKAGES:
        spec = find_spec(package)
        folders = list(spec.submodule_search_locations or ()) if spec else []
        place = folders[0] if folders else spec.origin if spec else None
        if place is None:
            raise ImportError(f"attnflow is not complete: {here} has no {package!r}; install it again", name=package)
        if Path(place).resolve() != here / package:
            message = f"{place} hides the package {package!r} of attnflow: rename it, or start Python in another folder"
            raise ImportError(message, name=package, path=place)


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        found: object = version("attnflow")
    elif name in _HOMES:
        _refuse_hidden_packages()
        module, attribute = _HOMES[name].split(":")
        found = getattr(importlib.import_module(module), attribute)
    else:
        from difflib import get_close_matches

        near = get_close_matches(name, __all__, n=1)
        raise AttributeError(f"attnflow has no {name!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__

"""``attnflow list``: what has a name."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from studies.cli.output import JsonFlag, QuietFlag, emit, table
from studies.cli.verb import verb

if TYPE_CHECKING:
    from algorithms.kv.policy import KVPolicy
    from studies.points.point import Json

Lines = list[tuple[str, str]]
"""Name and summary of everything of a kind."""


class Kind(StrEnum):
    """Things that have names."""

    ALGORITHMS = "algorithms"
    WORKLOADS = "workloads"
    POLICIES = "policies"
    CHIPS = "chips"
    TIERS = "tiers"
    MODELS = "models"
    SYSTEMS = "systems"
    SCENARIOS = "scenarios"
    STREAMS = "streams"
    STANDARDS = "standards"
    CAPTURES = "captures"
    KERNELS = "kernels"
    METRICS = "metrics"
    BENCHMARKS = "benchmarks"


@verb("list", order=130)
def list_names(
    kind: Annotated[Kind | None, typer.Argument(help="What to list; the kinds themselves if not given.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="List everything of all kinds.")] = False,
    as_json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """List what can be named on the command line, one line each.

    Without a kind it tells which kinds there are; with --all or --json it lists everything.

    Example: attnflow list chips
    """
    del quiet
    if not kind and not everything and not as_json:
        # names of code are known once it is imported, which takes longer than reading what kinds there are
        kinds = [(str(each), listing.what) for each, listing in LISTED.items()]
        typer.echo(table(("kind", "what has a name"), kinds))
        typer.echo("\nattnflow list KIND lists those of a kind, attnflow show tells all of one.")
        return
    found = {each: LISTED[each].lines() for each in ([kind] if kind else Kind)}
    document: Json = {
        str(each): [{"name": name, "summary": summary} for name, summary in entries] for each, entries in found.items()
    }

    # what goes into a file or another program stays whole
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None

    def text() -> str:
        return "\n\n".join(f"{each}\n{table(('name', 'summary'), rows, width)}" for each, rows in found.items())

    emit(document, text, as_json=as_json)


def policy_line(policy: type[KVPolicy]) -> str:
    """Parameters with their defaults, and the first line of what is said of a policy."""
    fields = ", ".join(
        entry.name if entry.default in (dataclasses.MISSING, None) else f"{entry.name}={entry.default}"
        for entry in dataclasses.fields(policy)
    )
    first = (policy.__doc__ or "").strip().splitlines()[0]
    return f"({fields}) {first}" if fields else first


def _algorithms() -> Lines:
    from studies.points.find import all_algorithm_names

    return [(name, _algorithm_line(name)) for name in all_algorithm_names()]


def _workloads() -> Lines:
    from algorithms.workload.text import workload_names

    return [(name, _workload_line(name)) for name in workload_names()]


def _policies() -> Lines:
    from algorithms.kv.registry import policy_class, policy_names

    return [(name, policy_line(policy_class(name))) for name in policy_names()]


def _chips() -> Lines:
    from hwmodels.chips.accelerator import accelerator_names
    from studies.cli.show_chip import chip_line

    return [(name, chip_line(name)) for name in accelerator_names()]


def _tiers() -> Lines:
    from hwmodels.tiers.text import tier_names
    from studies.cli.show_tier import tier_line

    return [(name, tier_line(name)) for name in tier_names()]


def _models() -> Lines:
    from algorithms.models.text import model_names
    from studies.cli.show_model import model_line

    return [(name, model_line(name)) for name in model_names()]


def _systems() -> Lines:
    from hwmodels.systems.text import system_names
    from studies.cli.show_model import system_line

    return [(name, system_line(name)) for name in system_names()]


def _scenarios() -> Lines:
    from algorithms.live.scenario import read_scenario, scenario_names

    return [(name, read_scenario(name).summary) for name in scenario_names()]


def _streams() -> Lines:
    from algorithms.live.streams.scenario import read_stream, stream_names

    return [(name, read_stream(name).summary) for name in stream_names()]


def _standards() -> Lines:
    from hwmodels.standards.text import load_standard, standard_names

    return [(name, load_standard(name).summary) for name in standard_names()]


def _captures() -> Lines:
    from reference.captures import capture_names, capture_path

    return [(name, str(capture_path(name).name)) for name in capture_names()]


def _kernels() -> Lines:
    from algorithms.chip.plan.kernels import kernel_names, load_kernel

    return [(name, load_kernel(name).text.summary) for name in kernel_names()]


def _metrics() -> Lines:
    from studies.families.metrics import metrics

    return [(m.name, f"{m.shown}: {m.meaning}" + (f" [{m.unit}]" if m.unit else "")) for m in metrics()]


def _benchmarks() -> Lines:
    from studies.benchmarks.register import benchmarks

    return [(entry.name, entry.summary) for entry in benchmarks()]


def _algorithm_line(name: str) -> str:
    from studies.families.family import family_of
    from studies.points.find import find_algorithm

    return family_of(name).listed(find_algorithm(name).summary)


def _workload_line(name: str) -> str:
    from algorithms.workload.text import load_workload

    w = load_workload(name)
    heads = f"{w.heads} heads ({w.kv_heads} KV) of {w.head_dim}"
    return f"{w.phase}, {heads}, {w.q_len} x {w.kv_len} tokens, {w.mask} mask"


@dataclasses.dataclass(frozen=True)
class Listing:
    """How the things of a kind are told and found.

    Parameters
    ----------
    what
        One line on the kind.
    lines
        Finds them all.
    """

    what: str
    lines: Callable[[], Lines]


LISTED: dict[Kind, Listing] = {
    Kind.ALGORITHMS: Listing("Designs to run: graphs of FIFOs, attention on chips, models, served load.", _algorithms),
    Kind.WORKLOADS: Listing("Shapes of attention: heads, head size, tokens, mask (--workload).", _workloads),
    Kind.POLICIES: Listing("Ways to keep or evict keys and values (--set policy=NAME).", _policies),
    Kind.CHIPS: Listing("Accelerators, each number with its source (--chip).", _chips),
    Kind.TIERS: Listing("Memories: SRAM, caches, HBM, DRAM, links to hosts and disks (--set tier=NAME).", _tiers),
    Kind.MODELS: Listing("Whole models with their layers and parameters (--model).", _models),
    Kind.SYSTEMS: Listing("Chips with links between them: servers, racks, slices (--system).", _systems),
    Kind.SCENARIOS: Listing("Requests that arrive at a deployment of a model (run live.serve NAME).", _scenarios),
    Kind.STREAMS: Listing("Cameras whose frames a model watches (run live.stream NAME).", _streams),
    Kind.STANDARDS: Listing("Generations of DRAM that tiers are made of.", _standards),
    Kind.CAPTURES: Listing("Recorded queries, keys and values of real models (--tensors).", _captures),
    Kind.KERNELS: Listing("Published kernels that a design can be timed as (--kernel).", _kernels),
    Kind.METRICS: Listing("Numbers of results, with units, that studies compare and rank.", _metrics),
    Kind.BENCHMARKS: Listing("Measurements of the tool itself (attnflow bench).", _benchmarks),
}
"""Everything that has a name, by kind."""

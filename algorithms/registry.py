"""The register of algorithms: one file and one decorator each, found by importing the package or an entry point.

All of them are an `Entry`. Here are those that are graphs of FIFOs, too; `algorithms.chip.algorithm`
has those that run on a chip, and `algorithms.memory.algorithm` the measurements of memory tiers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, is_dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Protocol, TypeAlias, TypeVar

from algorithms.figures import Figure, OwnFigures, Ran
from algorithms.register import Register
from algorithms.workload.one_head import ONE_HEAD
from algorithms.workload.shape import FloatArray, Workload
from hwmodels.chips.chip import Accelerator
from hwmodels.reading.calls import naming_the_nearest
from hwmodels.reading.errors import InputError, Problem

if TYPE_CHECKING:
    from simulator import Graph

Given = Literal["workload", "tensors", "timing_only", "chip", "kernel", "mapping", "memory", "engine", "clock", "skip"]
"""Things that can be said about a simulation besides the parameters of its algorithm."""

Setting: TypeAlias = int | float | str | bool
"""Value of a parameter."""

UNNAMED = "unnamed"
"""Name of a graph until `Algorithm.build` gives it the registered one: builders need not know it."""

ENTRY_POINT_GROUP = "attnflow.algorithms"
Tensors = tuple[FloatArray, FloatArray, FloatArray]


class Parameters(Protocol):
    """A frozen dataclass of settings with defaults, each documented by ``metadata["help"]``."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def __init__(self, **settings: Setting) -> None: ...


P = TypeVar("P", bound=Parameters)
P_co = TypeVar("P_co", bound=Parameters, covariant=True)
P_contra = TypeVar("P_contra", bound=Parameters, contravariant=True)
Documented = TypeVar("Documented")


@dataclass(frozen=True)
class Entry(Generic[P_co]):
    """An algorithm of any kind as it is registered.

    Its class says what that is (``what``, as in "... is a graph of FIFOs"), what a simulation of it can be told
    (``takes``), and what of that decides the result (``keyed``).

    Parameters
    ----------
    name
        Registered name, ``family.variant``, as on the command line. The decorator gives it, and plans, graphs and
        messages take it from here.
    summary
        One line for people.
    parameters
        A frozen dataclass; its fields are what ``--set`` and study axes can change, each with ``metadata["help"]``.
        With ``metadata["content"]`` a text that names a file stands for what the file holds.
    source
        Module that registered it.
    has_values
        Whether it computes values; one that does not is always about timing only, and is given no tensors.
    """

    what: ClassVar[str]
    takes: ClassVar[frozenset[Given]]
    keyed: ClassVar[frozenset[Given]]
    default_workload: ClassVar[Workload | None] = None
    """What attends when nobody names a workload; None if one must be named, or where nothing attends."""
    chip_parameter: ClassVar[str] = ""
    """Parameter whose value brings a chip when nobody names one; empty: a chip must be named, where one is needed."""

    name: str
    summary: str
    parameters: type[P_co]
    source: str
    has_values: bool = field(default=True, kw_only=True)

    @property
    def figure_kinds(self) -> tuple[Figure, ...]:
        """Figures beside those that all of its kind have, without values."""
        return ()

    def implied(self, chosen: Mapping[str, Setting | None]) -> Mapping[str, Setting]:
        """Parameters that what is chosen implies, such as files that it names, unless they are chosen, too."""
        del chosen
        return {}

    def chip_of(self, named: str) -> Accelerator | None:
        """The chip that a value of `chip_parameter` brings, None if it brings none; raises InputError for a bad one."""
        del named
        return None


AnyAlgorithm: TypeAlias = Entry[Parameters]

_HOMES = {
    "chip.attention.decode": ("decode.split_kv", "decode.verify"),
    "chip.attention.eager": ("eager.forward", "eager.training"),
    "chip.attention.flash": ("flash.q_outer",),
    "chip.attention.kv_outer": ("flash.kv_outer",),
    "chip.attention.kv_outer_training": ("flash.kv_outer_training",),
    "chip.attention.low_rank": ("flash.low_rank",),
    "chip.attention.prefix": ("prefix.relay",),
    "chip.attention.training": ("flash.training",),
    "chip.latent.blocks": (
        *("block.gqa", "block.mha", "block.mqa"),
        *("mla.exp", "mla.kvcache", "mla.rc", "mla.rc2", "mla.ru", "mla.ru2", "mla.seq"),
    ),
    "chip.policy.decode": ("decode.policy", "stream.frames"),
    "dam.composed": tuple(
        f"dam.composed_{name}" for name in ("memory_free", "naive", "naive_reordered", "reordered", "scaled")
    ),
    "dam.experiments": ("dam.agnostic", "dam.naive"),
    "dam.gina": ("dam.gina_agnostic", "dam.gina_scaled", "dam.gina_spatial", "dam.gina_unscaled"),
    "hybrid.graph": ("vit.hybrid",),
    "live.algorithm": ("live.serve",),
    "live.streams.algorithm": ("live.stream",),
    "memory.probe": ("tier.probe",),
    "models.steps.algorithm": ("model.step",),
    "state.on_chip": ("state.decode", "state.prefill"),
    "state.streams": ("state.delta", "state.legendre", "state.linear"),
    "streaming.memory_free": ("sdpa.memory_free",),
    "streaming.naive": ("sdpa.naive",),
    "streaming.query_blocks": ("sdpa.query_blocks",),
    "streaming.reordered": ("sdpa.reordered",),
    "streaming.scaled": ("sdpa.scaled",),
}
"""Modules of built-in algorithms, so that one starts without the others; one that is missing starts with all."""

ALGORITHMS: Register[AnyAlgorithm] = Register(
    "algorithm",
    "algorithms",
    ENTRY_POINT_GROUP,
    field="algorithm",
    homes={name: module for module, names in _HOMES.items() for name in names},
)
"""Algorithms of all kinds: graphs, those that run on a chip, and traffic on a memory tier; they share their names."""


def register_algorithm(
    name: str, parameters: type[P], described: object, make: Callable[[str, str, type[P], str], Entry[P]]
) -> None:
    """Register what ``make`` makes of name, summary, parameters and module; every decorator of algorithms ends here.

    Parameters
    ----------
    described
        The decorated function or class: the first line of its docstring is the summary.

    Raises
    ------
    InputError
        If the name is taken, naming both modules, or if the parameters are no dataclass.
    """
    source = getattr(described, "__module__", "?")
    ALGORITHMS.refuse_taken(name, source)
    if not is_dataclass(parameters):
        raise InputError(Problem(f"algorithm {name!r}: its parameters must be a dataclass", file=source))
    _name_the_nearest(parameters)
    summary = (described.__doc__ or name).strip().splitlines()[0]
    ALGORITHMS.add(name, make(name, summary, parameters, source))


def _name_the_nearest(parameters: type[Parameters]) -> None:
    """Let a parameter class answer a name that it does not have with the nearest that it has, as commands do.

    Algorithms can share a class, which is seen to once.
    """
    if "__init__" in vars(parameters) and not hasattr(parameters.__init__, "__wrapped__"):
        type.__setattr__(parameters, "__init__", naming_the_nearest(parameters.__name__)(parameters.__init__))


class Build(Protocol[P_contra]):
    """Builds the graph of an algorithm; without tensors the graph has timing only."""

    def __call__(self, workload: Workload, parameters: P_contra, tensors: Tensors | None) -> Graph: ...


@dataclass(frozen=True, kw_only=True)
class Algorithm(Entry[P]):
    """An algorithm that is a graph of units and FIFOs.

    Parameters
    ----------
    builder
        Makes the graph.
    own
        Figures of this algorithm alone.
    oracle
        Name of what it computes: values are held against the float64 definition of that name.
    """

    what: ClassVar[str] = "is a graph of FIFOs"
    takes: ClassVar[frozenset[Given]] = frozenset({"workload", "tensors", "timing_only", "engine", "clock", "skip"})
    keyed: ClassVar[frozenset[Given]] = takes
    default_workload: ClassVar[Workload | None] = ONE_HEAD

    builder: Build[P]
    own: OwnFigures[P] | None = None
    oracle: str = "attention"

    @property
    def figure_kinds(self) -> tuple[Figure, ...]:
        """Figures beside those that all graphs have, without values."""
        return self.own.kinds if self.own else ()

    def figures(self, workload: Workload, parameters: P, ran: Ran) -> tuple[Figure, ...]:
        """The same with their values."""
        return self.own.compute(workload, parameters, ran) if self.own else ()

    def build(self, workload: Workload, parameters: P, tensors: Tensors | None = None) -> Graph:
        """The graph of ``workload`` under the registered name, with values if ``tensors`` (q, k, v) are given.

        Raises
        ------
        InputError, GraphError
            If workload and parameters do not fit this algorithm.
        """
        graph = self.builder(workload, parameters, tensors)
        graph.name = self.name
        return graph


def algorithm(
    name: str,
    parameters: type[P],
    *,
    has_values: bool = True,
    figures: OwnFigures[P] | None = None,
    oracle: str = "attention",
    kind: type[Algorithm[P]] | None = None,
) -> Callable[[Build[P]], Build[P]]:
    """Register the decorated builder; the first line of its docstring is its summary.

    Parameters
    ----------
    has_values, figures, oracle
        Fields of the entry, which `Algorithm` explains.
    kind
        Class of the entry where it is more than a graph.

    Raises
    ------
    InputError
        As `register_algorithm`.
    """

    def register(builder: Build[P]) -> Build[P]:
        made = kind or Algorithm[P]
        make = partial(made, builder=builder, has_values=has_values, own=figures, oracle=oracle)
        register_algorithm(name, parameters, builder, make)
        return builder

    return register


def algorithm_names() -> tuple[str, ...]:
    """Names of all algorithms that are graphs, sorted; `algorithms.chip.algorithm` has those that run on a chip."""
    return ALGORITHMS.names(Algorithm)


def get_algorithm(name: str) -> Algorithm[Parameters]:
    """The graph algorithm called ``name``.

    Raises
    ------
    InputError
        If there is none, with the nearest name.
    """
    return ALGORITHMS.get_kind(name, Algorithm, "algorithm")

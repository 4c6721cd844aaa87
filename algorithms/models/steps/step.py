"""A step of a whole model on chips: time by layer and operation, what binds, energy, memory, and how each was made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from algorithms.chip.layers.gemm import chosen_tile, gemm_launch
from algorithms.chip.layers.passes import pass_launch
from algorithms.chip.plan.plan import Launch, TilePlan
from algorithms.chip.plan.profile import UNFITTED
from algorithms.chip.timing.energy import energy_of
from algorithms.chip.timing.fidelity import MemoryFidelity
from algorithms.chip.timing.mapping import LaunchRun, Mode, forget_launches, time_launch
from algorithms.chip.timing.memory_rate import at_fidelity
from algorithms.models.mapping import SINGLE, Mapping
from algorithms.models.model import Model
from algorithms.models.options import StepOptions
from algorithms.models.steps.batch import Batch, check_batch
from algorithms.models.steps.building import Setting
from algorithms.models.steps.fitting import check_fits, forget_ledgers, is_hopeless
from algorithms.models.steps.ledger import Ledger, ledger_of
from algorithms.models.steps.lowering import lowered
from algorithms.models.steps.operations import Kind, Layer, Operation, Way
from algorithms.models.steps.rates import rates_of
from hwmodels.chips.accelerator import Accelerator
from hwmodels.costs.energy import energy_table
from hwmodels.reading.errors import InputError, Problem
from hwmodels.systems.collectives import exchange_on
from hwmodels.systems.system import System, single

BOUND_BY = ("memory", "matrix", "exp", "vector", "cache")
"""Units of a chip that can be what a launch waits for."""


@dataclass(frozen=True)
class TimedOperation:
    """An operation with its time on every chip of a stage.

    Parameters
    ----------
    name, kind
        Name and kind of the operation in its layer.
    seconds
        Time of its launches, or of the exchange; gaps between launches are not counted.
    gap_s, launches
        Gaps before its launches, and how many there are.
    way
        How the time was made.
    bound
        The busiest unit of the longest launch, or the links.
    flops, weight_bytes, cache_bytes, memory_bytes, link_bytes
        Useful work; weights and cached keys of one chip; what moved through its memory; what it sent.
    energy_j
        Energy of one chip.
    """

    name: str
    kind: Kind
    seconds: float
    gap_s: float
    launches: int
    way: Way
    bound: str
    flops: int
    weight_bytes: int
    cache_bytes: int
    memory_bytes: int
    link_bytes: float
    energy_j: float


@dataclass(frozen=True)
class TimedLayer:
    """Layers that are alike.

    Parameters
    ----------
    name, tower, times
        Name, tower and number of the layers, taken from the lowering.
    operations
        Operations in their order.
    """

    name: str
    tower: str
    times: int
    operations: tuple[TimedOperation, ...]

    @property
    def seconds(self) -> float:
        """Of one of them, gaps included."""
        return sum(operation.seconds + operation.gap_s for operation in self.operations)


@dataclass(frozen=True)
class Made:
    """A part of a step's time, and how it was made.

    Parameters
    ----------
    kind
        Kind of operation, or gaps between launches.
    way
        Simulated, in closed form, from a measured table, or a number with a source.
    seconds
        Seconds of the device that were made so.
    error
        Mean of the absolute errors of this way on measured rows that it never saw; None where that is not known.
    source
        Source of the error, or of the number.
    """

    kind: str
    way: str
    seconds: float
    error: float | None
    source: str


@dataclass(frozen=True)
class Step:
    """A step of a model.

    Parameters
    ----------
    model, batch, mapping, options, chip, system
        Model and batch that were timed, and how and on what they run.
    layers
        Layers in their order.
    ledger
        Memory ledger of the fullest chip.
    host_s
        Time of the host to launch everything one by one; 0 where a graph is launched.
    """

    model: Model
    batch: Batch
    mapping: Mapping
    options: StepOptions
    chip: Accelerator
    system: System
    layers: tuple[TimedLayer, ...]
    ledger: Ledger
    host_s: float

    @property
    def device_s(self) -> float:
        """All layers one after the other."""
        return sum(layer.times * layer.seconds for layer in self.layers)

    @property
    def seconds(self) -> float:
        """From the first launch to the last result: the device, or a host that cannot launch as fast."""
        return max(self.device_s, self.host_s)

    @property
    def tokens(self) -> int:
        """New tokens: of text where there is any, else of encoders."""
        if self.batch.text:
            return sum(part.tokens for part in self.batch.text)
        return sum(
            part.tokens for tower in self.model.towers if tower.modality != "text" for part in self.batch.encoded(tower)
        )

    @property
    def tokens_per_second(self) -> float:
        """Of the model; stages work on as many such batches at a time."""
        return self.mapping.pp * self.tokens / self.seconds if self.seconds else 0.0

    @property
    def flops(self) -> int:
        """Useful ones of one chip of every stage."""
        return sum(layer.times * each.flops for layer in self.layers for each in layer.operations)

    @property
    def weight_bytes(self) -> int:
        """Read by one chip of every stage."""
        return sum(layer.times * each.weight_bytes for layer in self.layers for each in layer.operations)

    @property
    def energy_j(self) -> float:
        """Of all chips, those that wait for other stages not counted."""
        each = sum(layer.times * one.energy_j for layer in self.layers for one in layer.operations)
        idle_s = self.seconds - sum(layer.times * one.seconds for layer in self.layers for one in layer.operations)
        waiting_w = energy_table(self.chip).waiting_w
        return self.mapping.stage_chips * (each + max(idle_s, 0.0) * waiting_w)

    @property
    def launches(self) -> int:
        """Of one chip of every stage."""
        return sum(layer.times * each.launches for layer in self.layers for each in layer.operations)

    def seconds_by_kind(self) -> dict[str, float]:
        """Time of the device by kind of operation, gaps between launches apart."""
        found: dict[str, float] = {}
        for layer in self.layers:
            for each in layer.operations:
                found[each.kind] = found.get(each.kind, 0.0) + layer.times * each.seconds
                found["launch gaps"] = found.get("launch gaps", 0.0) + layer.times * each.gap_s
        return found

    def seconds_by_way(self) -> dict[str, float]:
        """Time of the device by how it was made; gaps are a cited number each."""
        found: dict[str, float] = {}
        for layer in self.layers:
            for each in layer.operations:
                found[each.way] = found.get(each.way, 0.0) + layer.times * each.seconds
                found["cited launch gap"] = found.get("cited launch gap", 0.0) + layer.times * each.gap_s
        return found

    def made(self) -> tuple[Made, ...]:
        """How the time of the device was made, kind by kind, largest part first."""
        rates = rates_of(self.chip)
        sources = dict(rates.sources)
        product = rates.products_error, sources["products_error"]
        errors = {
            **dict.fromkeys(("product", "experts", "head"), product),
            "exchange": (rates.exchange_error, sources["exchange_error"]),
        }
        ways: dict[tuple[str, str], float] = {}
        for layer in self.layers:
            for each in layer.operations:
                place = (each.kind, each.way)
                ways[place] = ways.get(place, 0.0) + layer.times * each.seconds
        found = []
        for (kind, way), seconds in ways.items():
            error, source = errors.get(kind, (None, "not scored by itself"))
            found.append(Made(kind, way, seconds, error, source))
        gaps = sum(layer.times * each.gap_s for layer in self.layers for each in layer.operations)
        called = any(each.kind == "experts" for layer in self.layers for each in layer.operations)
        source = sources["graph_fixed"] + ("; around experts as fitted to calls of serving stacks" if called else "")
        found.append(Made("launch gaps", "cited number", gaps, None, source))
        return tuple(sorted(found, key=lambda each: -each.seconds))

    @property
    def binding(self) -> str:
        """What most of the time waits for: the host, where it cannot launch as fast as the device works."""
        if self.host_s > self.device_s:
            return "host"
        found: dict[str, float] = {}
        for layer in self.layers:
            for each in layer.operations:
                found[each.bound] = found.get(each.bound, 0.0) + layer.times * each.seconds
                found["launches"] = found.get("launches", 0.0) + layer.times * each.gap_s
        return max(found, key=lambda name: found[name])


def model_step(
    model: Model,
    batch: Batch,
    system: System | Accelerator,
    mapping: Mapping = SINGLE,
    options: StepOptions | None = None,
    mode: Mode = "symmetric",
    memory: MemoryFidelity = "peak",
) -> Step:
    """Time a step.

    Parameters
    ----------
    system
        Chips and links, or one chip by itself.
    mode, memory
        Cores that are simulated, and how the main memory is, as in `algorithms.chip.timing.mapping.time_plan`.

    Raises
    ------
    InputError
        A batch that the model cannot do, shards that do not divide, more chips than the system has or joins.
    simulator.CapacityError
        If a chip cannot hold its part, with what would make it fit.
    """
    whole = single(system) if isinstance(system, Accelerator) else system
    check_batch(batch, model)
    mapping.check(model)
    if mapping.chips > whole.count:
        message = f"{whole.name} has {whole.count} chips, the mapping needs {mapping.chips}"
        raise InputError(Problem(message, field="system"))
    whole.joining(mapping.chips)
    return _step(model, batch, whole, mapping, (options or StepOptions()).of(model), mode, memory)


@lru_cache(maxsize=512)
def _step(
    model: Model,
    batch: Batch,
    system: System,
    mapping: Mapping,
    options: StepOptions,
    mode: Mode,
    memory: MemoryFidelity,
) -> Step:
    setting = Setting(model, batch, mapping, options, system.chip)
    if is_hopeless(setting):  # then no tile of it need be chosen
        check_fits(setting, ledger_of(setting))
    layers = lowered(setting)
    ledger = ledger_of(setting, layers)
    check_fits(setting, ledger)
    timed = tuple(_timed_layer(layer, setting, system, mode, memory) for layer in layers)
    count = sum(layer.times * len(each.launches) for layer in layers for each in layer.operations)
    host_s = count * setting.rates.eager_gap_s if options.launch == "eager" else 0.0
    return Step(model, batch, mapping, options, system.chip, system, timed, ledger, host_s)


def _timed_layer(layer: Layer, setting: Setting, system: System, mode: Mode, memory: MemoryFidelity) -> TimedLayer:
    operations = tuple(time_operation(each, setting, system, mode, memory) for each in layer.operations)
    return TimedLayer(layer.name, layer.tower, layer.times, operations)


def time_operation(
    operation: Operation, setting: Setting, system: System, mode: Mode, memory: MemoryFidelity
) -> TimedOperation:
    """One operation on the chips of a system: its launches simulated, its exchange in closed form."""
    if operation.communication is None:
        return _timed(operation, setting, mode, memory)
    return _exchanged(operation, setting, system)


def _timed(operation: Operation, setting: Setting, mode: Mode, memory: MemoryFidelity) -> TimedOperation:
    profile = operation.profile or UNFITTED
    gap, chip = setting.rates.graph_fixed_s, setting.chip
    runs = [
        time_launch(launch, chip, at_fidelity(launch, chip, profile, memory), mode) for launch in operation.launches
    ]
    seconds = sum(run.seconds for run in runs)
    return TimedOperation(
        name=operation.name,
        kind=operation.kind,
        seconds=seconds,
        gap_s=gap * len(runs) if operation.gap_s is None else operation.gap_s,
        launches=len(runs),
        way="simulated",
        bound=_bound(runs),
        flops=operation.flops,
        weight_bytes=operation.weight_bytes,
        cache_bytes=operation.cache_bytes,
        memory_bytes=sum(run.traffic.memory_bytes for run in runs),
        link_bytes=0.0,
        energy_j=_energy_j(operation.launches, runs, setting.chip),
    )


def _bound(runs: list[LaunchRun]) -> str:
    longest = max(runs, key=lambda run: run.seconds)
    shares = {name: longest.busy.get(name, 0.0) for name in BOUND_BY}
    return max(shares, key=lambda name: shares[name])


def _energy_j(launches: tuple[Launch, ...], runs: list[LaunchRun], chip: Accelerator) -> float:
    near = chip.caches[0].name if chip.caches else chip.memory.name
    moved = {near: sum(run.traffic.load_bytes + run.traffic.store_bytes for run in runs)}
    if chip.caches:
        moved[chip.memory.name] = sum(run.traffic.memory_bytes for run in runs)
    plan = TilePlan("", launches, 0, 0, 0, 0, 0)
    return sum(energy_of(plan, chip, moved, sum(run.seconds for run in runs)).values())


def _exchanged(operation: Operation, setting: Setting, system: System) -> TimedOperation:
    asked = operation.communication
    if asked is None:
        raise TypeError("no exchange")
    library = setting.options.exchange == "library"
    made = exchange_on(system, asked.collective, asked.chips, asked.bytes, library)
    sent = sum(size for _, size in made.bytes_out)
    table = energy_table(setting.chip)
    link = setting.chip.links[0].name if setting.chip.links else None
    joules = sent * table.tier_j_per_byte(link) if link else 0.0
    return TimedOperation(
        name=operation.name,
        kind="exchange",
        seconds=made.seconds,
        gap_s=0.0,
        launches=1,
        way="closed form",
        bound="links",
        flops=0,
        weight_bytes=0,
        cache_bytes=0,
        memory_bytes=0,
        link_bytes=sent,
        energy_j=joules + made.seconds * table.waiting_w,
    )


def forget_steps() -> None:
    """Forget all that is remembered of earlier steps, launches and tiles: what benchmarks begin with."""
    _step.cache_clear()
    forget_launches()
    chosen_tile.cache_clear()
    gemm_launch.cache_clear()
    pass_launch.cache_clear()
    forget_ledgers()

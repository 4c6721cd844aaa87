"""What a measured kernel did, as a plan for a chip: by kind of point and by the kernel's profile."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from algorithms.chip.attention.decode import SplitParameters
from algorithms.chip.attention.decoder_step import DECODERS, Context, decoder_step
from algorithms.chip.attention.operators import Elementwise, OperatorParameters, Product, softmax_launch
from algorithms.chip.plan.kernels import Kernel, find_kernel
from algorithms.chip.plan.plan import Launch, TilePlan
from algorithms.chip.plan.profile import KernelProfile
from algorithms.chip.timing.mapping import ChipRun, time_plan
from algorithms.workload.shape import DTYPE_BYTES, LatentAttention
from hwmodels.chips.accelerator import Accelerator
from hwmodels.reading.errors import InputError
from simulator.errors import SimulatorError
from studies.validate.gpu.cases import GpuPoint, UnsupportedPointError

P = TypeVar("P")

NOPE_WIDTH = 128
"""Width of a head before absorption, without its rotary part (DeepSeek-V2, -V3); absorbed attention never sees it."""
STREAMING_TOKENS = 64 + 256
"""Sinks and recent tokens of DuoAttention's streaming heads (arXiv:2410.10819, section 3.1)."""


@dataclass(frozen=True)
class Prediction:
    """A point as the simulator sees it.

    Parameters
    ----------
    kernel
        Profile used.
    run
        Its timing.
    """

    kernel: Kernel
    run: ChipRun

    @property
    def microseconds(self) -> float:
        """Predicted time."""
        return self.run.seconds * 1e6

    @property
    def dominating(self) -> str:
        """What takes most of the time, in words: the unit of the busiest core that works longest, or the gaps."""
        shares = self.run.shares
        name = max(shares, key=lambda unit: shares[unit])
        words = {"exposed": "softmax that no product hides", "memory": "main memory", "cache": "L2"}
        return f"{words.get(name, name)} {100 * shares[name]:.0f} % of the predicted time"


ELSEWHERE = {"fpga_e2e": " here: `attnflow reproduce ubimoe` and `tellme` hold them against bands of settings"}
"""Kinds of points that another command is for."""


def predict(point: GpuPoint, profile: KernelProfile | None = None) -> Prediction:
    """Simulate what ``point`` measured; ``profile`` replaces that of its kernel.

    Raises
    ------
    UnsupportedPointError
        The project has no model of the point, and why.
    """
    maker = PLANS.get(point.kind)
    if maker is None:
        raise UnsupportedPointError(f"points of kind {point.kind!r} are not modelled{ELSEWHERE.get(point.kind, '')}")
    chip = point.chip()
    kernel = find_kernel(point.kind, point.kernel, chip)
    if kernel is None:
        raise UnsupportedPointError(f"there is no profile of {point.kernel!r} on {chip.name} ({point.kind})")
    used = profile or kernel.profile
    locked = point.locked_clock_hz
    if locked is not None:
        used = dataclasses.replace(used, clock_fraction=min(locked / chip.clock_hz, used.clock_fraction))
    try:
        return Prediction(kernel, time_plan(maker(point, kernel, chip), chip, used))
    except (InputError, SimulatorError) as error:
        raise UnsupportedPointError("; ".join(str(error).splitlines())) from None


def _attention(point: GpuPoint, kernel: Kernel, chip: Accelerator) -> TilePlan:
    """Attention by the profile's algorithm."""
    workload = point.workload()
    return kernel.algorithm.plan(workload, kernel.parameters(workload), chip)


def _latent_attention(point: GpuPoint, kernel: Kernel, chip: Accelerator) -> TilePlan:
    """Absorbed latent attention: the point's D is the latent with its rotary part, its Dv the latent."""
    latent = point.size("Dv")
    rotary = point.size("D") - latent
    plain = point.workload()
    workload = plain.with_(
        kv_heads=plain.heads,
        head_dim=NOPE_WIDTH + rotary,
        v_head_dim=NOPE_WIDTH,
        hidden=plain.heads * NOPE_WIDTH,
        latent=LatentAttention(kv_lora_rank=latent, qk_rope_head_dim=rotary),
    )
    return kernel.algorithm.plan(workload, kernel.parameters(workload), chip)


def _token(point: GpuPoint, kernel: Kernel, chip: Accelerator) -> TilePlan:
    """A decode step of a whole model, some heads of which may attend to sinks and a window alone."""
    named = re.sub(r"[^a-z0-9]", "", str(point.shape.get("model", "")).casefold())
    model = next((model for name, model in DECODERS.items() if named.startswith(name.replace("-", ""))), None)
    if model is None:
        raise UnsupportedPointError(f"the sizes of model {point.shape.get('model')!r} are not known")
    share = point.shape.get("retrieval_head_ratio", 1.0)
    if not isinstance(share, int | float) or not 0 < share <= 1:
        raise UnsupportedPointError("the share of full heads must lie between 0 and 1")
    context = Context(point.size("context_tokens", "Skv"), float(share), STREAMING_TOKENS, point.size("B", default=1))
    parameters = parameters_of(SplitParameters, kernel.text.parameters)
    return decoder_step(model, context, chip, parameters, point.number_format)


def _stream(point: GpuPoint, kernel: Kernel, chip: Accelerator) -> TilePlan:
    """STREAM triad over a working set of three arrays: two are read, one is written."""
    del kernel, chip
    elements = point.size("bytes") // 3 // DTYPE_BYTES[point.number_format]
    triad = Elementwise("triad", elements, reads=2, ops=1)
    return _one_launch("operator.triad", triad.launch(OperatorParameters(), point.number_format))


def parameters_of(kind: Callable[..., P], given: Mapping[str, int | float | str | bool]) -> P:
    """Parameters whose fields a profile names; the profile was checked against them when it was read."""
    return kind(**given)


def _one_launch(name: str, launch: Launch) -> TilePlan:
    """A plan of a single operator."""
    moved = launch.unique_load_bytes + launch.total("store_bytes")
    return TilePlan(name, (launch,), launch.total("flops"), launch.total("exps"), moved, moved, 0)


def _softmax(point: GpuPoint, kernel: Kernel, chip: Accelerator) -> TilePlan:
    """Softmax of rows."""
    del chip
    rows, columns = point.size("rows", "M"), point.size("cols", "columns", "N")
    parameters = parameters_of(OperatorParameters, _operator_settings(kernel))
    plan = _one_launch("operator.softmax", softmax_launch(rows, columns, parameters, point.number_format))
    return dataclasses.replace(plan, useful_exps=rows * columns)


def _product(point: GpuPoint, kernel: Kernel, chip: Accelerator) -> TilePlan:
    """One product or a batch of them."""
    del chip
    parameters = parameters_of(OperatorParameters, _operator_settings(kernel))
    product = Product(
        "product",
        point.size("B", "batch", default=1),
        point.size("M", "rows"),
        point.size("N", "cols", "columns"),
        point.size("K", "depth"),
    )
    return _one_launch("operator.product", product.launch(parameters, point.number_format))


def _operator_settings(kernel: Kernel) -> dict[str, int]:
    """Of the profile's parameters those of single operators; they are whole numbers or yes and no."""
    known = {field.name for field in dataclasses.fields(OperatorParameters)}
    return {name: value for name, value in kernel.text.parameters.items() if name in known and isinstance(value, int)}


PlanMaker = Callable[[GpuPoint, Kernel, Accelerator], TilePlan]

PLANS: dict[str, PlanMaker] = {
    "prefill_fwd": _attention,
    "prefill_fwdbwd": _attention,
    "decode": _attention,
    "mla_decode": _latent_attention,
    "e2e_decode_token": _token,
    "membench": _stream,
    "op_softmax": _softmax,
    "op_matmul": _product,
    "op_bmm": _product,
}
"""Kinds of points that are timed, each with how its plan is made."""

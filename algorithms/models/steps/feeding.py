"""Feed-forward blocks, mixtures of experts and convolutions as operations on one chip."""

from __future__ import annotations

from dataclasses import replace

from algorithms.chip.layers.formats import weight_format
from algorithms.chip.layers.grouped import GroupedGemm, Routing, expected_routing
from algorithms.models.blocks import Convolution, Experts, FeedForward
from algorithms.models.steps import modules
from algorithms.models.steps.building import STREAM_FORMAT, Builder
from algorithms.models.steps.operations import Operation, Tensor
from algorithms.models.steps.rates import expert_call
from algorithms.rounding import ceil_div
from algorithms.workload.shape import DTYPE_BYTES


def feed_forward(build: Builder, block: FeedForward, at: str) -> list[Operation]:
    return dense(build, block.inner, block.gated, at, build.tokens, build.whole.mapping.tp, f"{at}normed", f"{at}out")


def dense(
    build: Builder, inner: int, gated: bool, at: str, rows: int, tp: int, takes: str, makes: str, reduced: bool = True
) -> list[Operation]:
    """Up, activation, down, and the sum over chips."""
    width, own = build.tower.width, ceil_div(inner, tp)
    element = DTYPE_BYTES["bfloat16"]
    wide = Tensor(f"{at}up", rows * own * (2 if gated else 1) * element)
    active = Tensor(f"{at}active", rows * own * element)
    if gated and build.whole.options.fusion != "engine":
        ups = [
            build.product(f"{at}gate", rows, own, width, (takes,), (Tensor(f"{at}gated", rows * own * element),)),
            build.product(f"{at}up", rows, own, width, (takes, f"{at}gated"), (Tensor(f"{at}up", active.bytes),)),
        ]
    else:
        ups = [build.product(f"{at}up", rows, own * (2 if gated else 1), width, (takes,), (wide,))]
    act = build.passes.activation(f"{at}act", rows * own, gated=gated)
    activated = build.one_pass(act, "pass", (f"{at}up", *([f"{at}gated"] if len(ups) > 1 else [])), (active,))
    found = [
        *ups,
        modules.activation(build, activated, act, gated=gated),
        build.product(f"{at}down", rows, width, own, (active.name,), (Tensor(makes, rows * width * element),)),
    ]
    return [*found, *build.summed(f"{at}sum", rows, tp)] if reduced else found


def experts(build: Builder, block: Experts, at: str) -> list[Operation]:
    mapping, width, element = build.whole.mapping, build.tower.width, DTYPE_BYTES["bfloat16"]
    parts, shares = mapping.experts_parts, mapping.expert_tp
    everyone = build.tokens * mapping.dp
    routing = expected_routing(everyone, block.experts, block.active, block.experts // parts)
    rows, inner = routing.rows, ceil_div(block.inner, shares)
    router = weight_format("bfloat16")
    scores = Tensor(f"{at}scores", build.tokens * block.experts * element)
    found = [
        build.product(f"{at}router", build.tokens, block.experts, width, (f"{at}normed",), (scores,), router),
        build.one_pass(
            build.passes.softmax(f"{at}route", build.tokens, block.experts), "pass", (f"{at}normed", scores.name), ()
        ),
    ]
    spread = mapping.dp > 1
    if spread:
        found.append(_dispatch(build, f"{at}dispatch", block, parts, shares))
    sorted_rows = Tensor(f"{at}rows", rows * width * element)
    copied = build.passes.copy(f"{at}sort", max(rows, 1) * width)
    combined = build.one_pass(
        build.passes.add(f"{at}combine", max(rows, 1) * width),
        "pass",
        (f"{at}down", f"{at}normed"),
        (Tensor(f"{at}out", build.stream_bytes),),
    )
    ordered = build.one_pass(copied, "pass", (f"{at}normed",), (sorted_rows,))
    found += _as_called(build, [ordered, *_grouped(build, block, routing, inner, at), combined])
    if block.shared_inner:
        tp = mapping.tp
        shared = f"{at}shared."
        found += dense(
            build, block.shared_inner, True, shared, build.tokens, tp, f"{at}normed", f"{shared}out", reduced=False
        )
    if spread:
        found.append(_dispatch(build, f"{at}return", block, parts, shares))
        found += build.summed(f"{at}sum", build.tokens, mapping.tp if block.shared_inner else 1)
    else:
        found += build.summed(f"{at}sum", build.tokens, mapping.tp)
    return found


def _as_called(build: Builder, operations: list[Operation]) -> list[Operation]:
    """Operations of one call of experts in a graph with the gaps of a serving stack's, where those are known.

    What precedes the products (choosing experts, counting their tokens, ordering them) is within the gap of the call.
    """
    options = build.whole.options
    call = expert_call(options.expert_weight.name, build.whole.chip) if options.launch == "graph" else None
    if call is None:
        return operations
    gaps = [call.gap_s, 0.0, *[call.edge_s] * len(operations)]  # tokens are ordered, then go to the first product
    return [replace(each, gap_s=gap) for each, gap in zip(operations, gaps, strict=False)]


def _dispatch(build: Builder, name: str, block: Experts, parts: int, shares: int) -> Operation:
    """Tokens to the chips of their experts, or back: each goes to at most as many parts as it has experts."""
    mapping = build.whole.mapping
    chips = mapping.tp * mapping.dp
    copies = min(block.active, parts) * shares
    size = ceil_div(build.tokens, mapping.tp) * copies * build.tower.width * DTYPE_BYTES["bfloat16"]
    return build.exchange(name, "all_to_all", chips, size)


def _grouped(build: Builder, block: Experts, routing: Routing, inner: int, at: str) -> list[Operation]:
    element, width = DTYPE_BYTES["bfloat16"], build.tower.width
    if not routing.counts:
        return []
    weights, activations = build.formats(build.whole.options.expert_weight)
    up = GroupedGemm(f"{at}experts up", routing, 2 * inner, width, weights, activations, results=STREAM_FORMAT)
    down = GroupedGemm(f"{at}experts down", routing, width, inner, weights, activations, results=STREAM_FORMAT)
    rows = routing.rows
    act = build.passes.activation(f"{at}experts act", rows * inner, gated=True)
    return [
        _expert_product(build, up, (f"{at}rows",), (Tensor(f"{at}up", rows * 2 * inner * element),)),
        build.one_pass(act, "pass", (f"{at}up",), (Tensor(f"{at}active", rows * inner * element),)),
        _expert_product(build, down, (f"{at}active",), (Tensor(f"{at}down", rows * width * element),)),
    ]


def _expert_product(
    build: Builder, product: GroupedGemm, takes: tuple[str, ...], makes: tuple[Tensor, ...]
) -> Operation:
    operand, _ = product.weights.runs_as(product.activations, build.whole.chip)
    return Operation(
        name=product.name,
        kind="experts",
        launches=(product.launch(build.whole.chip),),
        profile=build.whole.rates.product(operand, build.whole.options.launch),
        flops=product.flops,
        weight_bytes=product.weight_bytes,
        takes=takes,
        makes=makes,
    )


def convolution(build: Builder, block: Convolution, at: str) -> list[Operation]:
    width, element, rows = build.tower.width, DTYPE_BYTES["bfloat16"], build.tokens
    wide, half = Tensor(f"{at}wide", 2 * rows * width * element), Tensor(f"{at}half", rows * width * element)
    turned = Tensor(f"{at}turned", rows * width * element)
    gate = build.passes.activation(f"{at}gate", rows * width, gated=True)
    taps = build.passes.depthwise(f"{at}depthwise", rows, width, block.kernel)
    return [
        build.product(f"{at}expand", rows, 2 * width, width, (f"{at}normed",), (wide,)),
        build.one_pass(gate, "pass", (wide.name,), (half,)),
        build.one_pass(taps, "pass", (half.name,), (turned,), weights=taps.memory_bytes),
        build.product(
            f"{at}project", rows, width, width, (turned.name,), (Tensor(f"{at}out", rows * width * element),)
        ),
    ]

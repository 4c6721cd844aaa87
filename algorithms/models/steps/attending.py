"""Attention blocks as operations: projections, positions and cache, attention of every part of the batch, output."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from algorithms.chip.algorithm import get_chip_algorithm
from algorithms.chip.attention.decode import SplitParameters
from algorithms.chip.latent.fit import BlockParameters
from algorithms.chip.plan.parameters import TileParameters
from algorithms.chip.plan.plan import TilePlan
from algorithms.chip.plan.profile import KernelProfile, unfitted_for
from algorithms.chip.policy.run import PolicyParameters
from algorithms.models.blocks import Attention, LatentAttention
from algorithms.models.steps import modules
from algorithms.models.steps.batch import Part
from algorithms.models.steps.building import Builder, Setting
from algorithms.models.steps.operations import Operation, Tensor
from algorithms.models.steps.rates import attention_kernel, rowless_block_s, varlen_profile, with_gap
from algorithms.models.steps.varlen import rowless_blocks, split_parameters, varlen_launch, varlen_serves
from algorithms.registry import Parameters
from algorithms.rounding import ceil_div
from algorithms.workload.shape import DTYPE_BYTES, Workload
from algorithms.workload.shape import LatentAttention as LatentShape

WINDOW_CHUNK = 128
"""New tokens that attend to a window together: a tile of queries sees its own keys and the window before it."""


@dataclass(frozen=True)
class Attending:
    """An attention block on one chip.

    Parameters
    ----------
    tower
        The tower that it stands in, with the batch.
    block
        Attention block that is lowered.
    at
        Prefix of the names of its operations and tensors.
    """

    tower: Builder
    block: Attention | LatentAttention
    at: str

    @property
    def heads(self) -> int:
        """Query heads of one chip."""
        return ceil_div(self.block.heads, self.tower.whole.mapping.tp)

    @property
    def groups(self) -> int:
        """KV heads of one chip."""
        groups = self.block.groups if isinstance(self.block, Attention) else self.block.heads
        return max(groups // self.tower.whole.mapping.tp, 1)

    def operations(self) -> list[Operation]:
        """All of them, in order."""
        made = self._plain(self.block) if isinstance(self.block, Attention) else self._latent(self.block)
        return [*made, *self.tower.summed(f"{self.at}sum", self.tower.tokens, self.tower.whole.mapping.tp)]

    # grouped heads

    def attended(self, block: Attention) -> list[Operation]:
        """Those of them that depend on what the parts of the batch attend to."""
        size = self.tower.tokens * self.heads * block.head_dim * DTYPE_BYTES["bfloat16"]
        out = Tensor(f"{self.at}attended", size)
        made = self._attend(block, out, (f"{self.at}q", f"{self.at}kv"))
        return [replace(each, attends=True) for each in made]

    def _plain(self, block: Attention) -> list[Operation]:
        tower, at, rows, element = self.tower, self.at, self.tower.tokens, DTYPE_BYTES["bfloat16"]
        width, q, kv = tower.tower.width, self.heads * block.head_dim, self.groups * block.head_dim
        source = tower.context if block.context else rows
        # a gate per element of the result comes with the queries
        asked = 2 * q if block.gated else q
        queries, keys = Tensor(f"{at}q", rows * asked * element), Tensor(f"{at}kv", source * 2 * kv * element)
        normed = (f"{at}normed",)
        if block.context or tower.whole.options.fusion != "engine":
            found = [tower.product(f"{at}q", rows, asked, width, normed, (queries,))]
            if source:
                # the keys of cross-attention are made when the context is new, and read afterwards
                fresh = [part for part in tower.own_parts if part.kind != "decode"]
                made = sum(part.context * part.sequences for part in fresh) if block.context else rows
                if made:
                    each = Tensor(keys.name, made * 2 * kv * element)
                    found.append(tower.product(f"{at}kv", made, 2 * kv, block.context or width, normed, (each,)))
        else:
            found = [tower.product(f"{at}qkv", rows, asked + 2 * kv, width, normed, (queries, keys))]
        if block.qk_norm:
            both = tower.passes.norm(f"{at}qk norm", rows, q + kv)
            normed_pass = tower.one_pass(both, "norm", (queries.name, keys.name), ())
            found.append(modules.norm(tower, normed_pass, both, block.qk_norm_kind))
        if not block.context and modules.as_modules(tower):
            found += modules.positions(tower, block, at, self.heads, self.groups)
        elif not block.context:
            cached = 2 * kv if tower.tower.causal else 0
            turned = tower.passes.rotary(f"{at}positions", rows, q + kv if block.rotary else 0, kv, 0)
            size = DTYPE_BYTES[tower.whole.options.kv_format]
            turned = replace(turned, stored_bytes=rows * cached * size)
            if block.rotary or cached:
                found.append(tower.one_pass(turned, "pass", (queries.name, keys.name), (), cached=rows * cached * size))
        out = Tensor(f"{at}attended", rows * q * element)
        found += self.attended(block)
        if block.gated:
            weighted = tower.passes.activation(f"{at}weighted", rows * q, gated=True)
            found.append(tower.one_pass(weighted, "pass", (out.name, queries.name), ()))
        made_out = Tensor(f"{at}out", rows * width * element)
        return [*found, tower.product(f"{at}o", rows, width, q, (out.name,), (made_out,))]

    def _attend(self, block: Attention, out: Tensor, takes: tuple[str, ...]) -> Iterator[Operation]:
        tower = self.tower
        joined = self._joined(block, tower.own_parts)
        if joined is not None:
            yield replace(joined, takes=takes, makes=(out,))
            return
        for number, part in enumerate(tower.own_parts):
            policy = tower.whole.options.policy
            if policy != "full" and part.kind == "decode" and tower.tower.causal and not block.context:
                yield self._under_policy(block, part, out, takes, number)
                continue
            workload = self.workload(block, part)
            stack = joins(tower.whole, block, causal=tower.tower.causal)
            plan, profile = self._plan(workload, stack=stack)
            yield Operation(
                name=f"{self.at}attention {part.kind}",
                kind="attention",
                launches=plan.launches,
                profile=profile,
                flops=self.flops(block, part),
                cache_bytes=workload.k_bytes + workload.v_bytes if part.total > part.new else 0,
                takes=takes,
                makes=(out,) if number == 0 else (),
            )
            yield from self._ring(block, part)

    def _joined(self, block: Attention, parts: tuple[Part, ...]) -> Operation | None:
        """All parts in one launch where the stack calls attention so; None where each has a launch of its own.

        A batch of single tokens alone has kernels of its own, and a policy or a ring decides part by part.
        """
        whole = self.tower.whole
        prompts = any(part.kind != "decode" or part.new > 1 for part in parts)
        profile = varlen_profile(whole.chip) if prompts else None
        if profile is None or not joins(whole, block, causal=self.tower.tower.causal):
            return None
        workloads = [self.workload(block, part) for part in parts]
        cached = [
            work.k_bytes + work.v_bytes for work, part in zip(workloads, parts, strict=True) if part.total > part.new
        ]
        kinds = dict.fromkeys(part.kind for part in parts)
        rowless = self.heads * rowless_blocks((work.q_len, work.batch) for work in workloads)
        launch = varlen_launch(workloads, whole.chip.cores)
        passed_s = rowless_block_s(whole.chip) * rowless / max(launch.item_count, whole.chip.cores)
        return Operation(
            name=f"{self.at}attention {' and '.join(kinds)}",
            kind="attention",
            launches=(launch,),
            profile=replace(
                with_gap(profile, whole.rates.gap_s(whole.options.launch)), item_gap_s=profile.item_gap_s + passed_s
            ),
            flops=sum(self.flops(block, part) for part in parts),
            cache_bytes=sum(cached),
        )

    def _ring(self, block: Attention, part: Part) -> Iterator[Operation]:
        """Keys that go round the chips of a ring."""
        chips = self.tower.whole.mapping.cp
        if chips > 1 and not block.context:
            keys = part.sequences * ceil_div(part.total, chips) * 2 * self.groups * block.head_dim
            size = keys * chips * DTYPE_BYTES[self.tower.whole.options.kv_format]
            yield self.tower.exchange(f"{self.at}ring", "all_gather", chips, size)

    def workload(self, block: Attention, part: Part) -> Workload:
        """What one chip's heads attend to in a part; windows and blocks of tokens as sequences of their own."""
        causal = self.tower.tower.causal and not block.context
        new, total, sequences = part.new, part.context if block.context else part.total, part.sequences
        if block.block and total > block.block:
            sequences, new, total = sequences * ceil_div(total, block.block), block.block, block.block
        elif block.window and total > block.window:
            chunk = min(WINDOW_CHUNK, new)
            sequences, new, total = sequences * ceil_div(new, chunk), chunk, min(total, block.window + chunk - 1)
        return Workload(
            name=f"{self.at}attention",
            phase="decode" if new < total else "prefill",
            heads=self.heads,
            kv_heads=self.groups,
            q_len=new,
            kv_len=max(total, 1),
            head_dim=block.head_dim,
            mask="causal" if causal and new > 1 else "full",
            dtype="bfloat16" if new > 1 else self.tower.whole.options.kv_format,
            batch=sequences,
        )

    def flops(self, block: Attention, part: Part) -> int:
        """Useful ones of one chip: two products over the keys that each query sees."""
        total = part.context if block.context else part.total
        causal = self.tower.tower.causal and not block.context
        pairs = seen_pairs(part.new, total, causal, block.window, block.block)
        return 4 * block.head_dim * self.heads * part.sequences * pairs

    def _plan(self, workload: Workload, *, stack: bool = False) -> tuple[TilePlan, KernelProfile]:
        """Attention of one part; with ``stack`` single tokens go to the packed, split form of `varlen_launch`."""
        chip = self.tower.whole.chip
        one = workload.q_len * workload.group_size <= chip.core.matrix_rows or workload.phase == "decode"
        phase = "decode" if one and workload.mask == "full" else "prefill"
        known: tuple[Parameters, KernelProfile] | None = attention_kernel(phase, workload, chip)
        whole_batch = varlen_profile(chip)
        if stack and phase == "decode" and whole_batch is not None:
            known = split_parameters(workload.head_dim), whole_batch
        gap = self.tower.whole.rates.gap_s(self.tower.whole.options.launch)
        name = "decode.split_kv" if phase == "decode" else "flash.q_outer"
        algorithm = get_chip_algorithm(name)
        automatic = SplitParameters(pack_gqa="always") if phase == "decode" else TileParameters()
        parameters = algorithm.resolved(workload, known[0] if known else automatic, chip)
        profile = known[1] if known else self._unfitted(parameters)
        return algorithm.plan(workload, parameters, chip), with_gap(profile, gap)

    def _unfitted(self, parameters: object) -> KernelProfile:
        return replace(unfitted_for(parameters), bandwidth_fraction=self.tower.whole.rates.bandwidth)

    def _under_policy(
        self, block: Attention, part: Part, out: Tensor, takes: tuple[str, ...], number: int
    ) -> Operation:
        """Attention of one layer under a KV policy: the plan of `decode.policy` for that layer."""
        options, whole = self.tower.whole.options, self.tower.whole
        workload = replace(
            self.workload(block.model_copy(update={"window": None, "block": None}), part),
            layers=1,
            phase="decode",
            mask="full",
        )
        chosen = PolicyParameters(policy=options.policy, budget=options.budget, layers=1)
        policy = get_chip_algorithm("decode.policy")
        tiles = policy.resolved(workload, chosen, whole.chip)
        plan = policy.plan(workload, tiles, whole.chip)
        return Operation(
            name=f"{self.at}attention {options.policy}",
            kind="attention",
            launches=plan.launches,
            profile=with_gap(self._unfitted(tiles), whole.rates.gap_s(options.launch)),
            flops=plan.useful_flops,
            cache_bytes=plan.compulsory_bytes,
            takes=takes,
            makes=(out,) if number == 0 else (),
        )

    # latent attention

    def _latent(self, block: LatentAttention) -> list[Operation]:
        """Absorbed for tokens that attend to a cache, expanded for prompts."""
        tower, at, rows, element = self.tower, self.at, self.tower.tokens, DTYPE_BYTES["bfloat16"]
        width, q = tower.tower.width, self.heads * block.head_dim
        normed, size = (f"{at}normed",), DTYPE_BYTES[tower.whole.options.kv_format]
        down = Tensor(f"{at}down", rows * (block.cache_elements + (block.q_lora_rank or 0)) * element)
        queries = Tensor(f"{at}q", rows * q * element)
        found = [tower.product(f"{at}latent", rows, down.bytes // element // max(rows, 1), width, normed, (down,))]
        ranks = (block.q_lora_rank or 0) + block.kv_lora_rank
        found.append(tower.one_pass(tower.passes.norm(f"{at}latent norm", rows, ranks), "norm", (down.name,), ()))
        if block.q_lora_rank is None:
            found.append(tower.product(f"{at}q", rows, q, width, normed, (queries,)))
        else:
            found.append(tower.product(f"{at}q", rows, q, block.q_lora_rank, (down.name,), (queries,)))
        turned = tower.passes.rotary(
            f"{at}positions", rows, (self.heads + 1) * block.qk_rope_head_dim, block.kv_lora_rank, 0
        )
        written = rows * block.cache_elements * size
        turned = replace(turned, stored_bytes=written)
        found.append(tower.one_pass(turned, "pass", (queries.name, down.name), (), cached=written))
        out = Tensor(f"{at}attended", rows * self.heads * block.v_head_dim * element)
        for number, part in enumerate(tower.own_parts):
            makes = (out,) if number == 0 else ()
            expanded = part.new > 1 and part.new == part.total
            attended = (self._expanded if expanded else self._absorbed)(block, part, (queries.name, down.name), makes)
            found += [replace(each, attends=True) for each in attended]
        made = Tensor(f"{at}out", rows * width * element)
        return [*found, tower.product(f"{at}o", rows, width, self.heads * block.v_head_dim, (out.name,), (made,))]

    def _expanded(
        self, block: LatentAttention, part: Part, takes: tuple[str, ...], makes: tuple[Tensor, ...]
    ) -> Iterator[Operation]:
        """Keys and values of all heads made from the latent, then attention as usual."""
        tower, at, element = self.tower, self.at, DTYPE_BYTES["bfloat16"]
        up = self.heads * (block.qk_nope_head_dim + block.v_head_dim)
        keys = Tensor(f"{at}kv", part.tokens * up * element)
        yield tower.product(f"{at}expand", part.tokens, up, block.kv_lora_rank, takes[1:], (keys,))
        workload = Workload(
            name=f"{at}attention",
            phase="prefill",
            heads=self.heads,
            kv_heads=self.heads,
            q_len=part.new,
            kv_len=part.total,
            head_dim=block.head_dim,
            v_head_dim=block.v_head_dim,
            mask="causal",
            dtype="bfloat16",
            batch=part.sequences,
        )
        plan, profile = self._plan(workload)
        flops = 2 * (block.head_dim + block.v_head_dim) * self.heads * part.sequences
        yield Operation(
            name=f"{at}attention {part.kind}",
            kind="attention",
            launches=plan.launches,
            profile=profile,
            flops=flops * seen_pairs(part.new, part.total, True),
            takes=(*takes, keys.name),
            makes=makes,
        )

    def _absorbed(
        self, block: LatentAttention, part: Part, takes: tuple[str, ...], makes: tuple[Tensor, ...]
    ) -> Iterator[Operation]:
        """Queries into the space of the latent, attention there, and back, head by head."""
        tower, at, whole, element = self.tower, self.at, self.tower.whole, DTYPE_BYTES["bfloat16"]
        rank, rows = block.kv_lora_rank, part.tokens
        query = Tensor(f"{at}absorbed", rows * self.heads * rank * element)
        latent = Tensor(f"{at}latent out", rows * self.heads * rank * element)
        yield tower.product(f"{at}absorb", rows, rank, block.qk_nope_head_dim, takes[:1], (query,), count=self.heads)
        workload = Workload(
            name=f"{at}attention",
            phase="decode",
            heads=self.heads,
            kv_heads=self.heads,
            q_len=part.new,
            kv_len=part.total,
            head_dim=block.head_dim,
            v_head_dim=block.v_head_dim,
            mask="causal" if part.new > 1 else "full",
            dtype=whole.options.kv_format if part.new == 1 else "bfloat16",
            batch=part.sequences,
            hidden=tower.tower.width,
            latent=LatentShape(rank, block.qk_rope_head_dim, block.q_lora_rank),
        )
        parameters = get_chip_algorithm("mla.seq").resolved(workload, BlockParameters(scope="core"), whole.chip)
        plan = get_chip_algorithm("mla.seq").plan(workload, parameters, whole.chip)
        gap = whole.rates.gap_s(whole.options.launch)
        pairs = seen_pairs(part.new, part.total, True)
        yield Operation(
            name=f"{at}attention {part.kind}",
            kind="attention",
            launches=plan.launches,
            profile=with_gap(self._unfitted(parameters), gap),
            flops=2 * (2 * rank + block.qk_rope_head_dim) * self.heads * part.sequences * pairs,
            cache_bytes=part.sequences * part.total * block.cache_elements * workload.dtype_bytes,
            takes=(*takes, query.name),
            makes=(latent,),
        )
        yield tower.product(f"{at}back", rows, block.v_head_dim, rank, (latent.name,), makes, count=self.heads)


def joins(setting: Setting, block: Attention, *, causal: bool) -> bool:
    """Whether a block attends to prompts and single tokens in one launch: the stack's kernel takes such keys.

    Parameters
    ----------
    causal
        Whether the tower that it stands in is causal; encoders cache nothing.
    """
    options = setting.options
    plain = (options.policy, options.fusion, options.kv_format) == ("full", "engine", "bfloat16")
    cached = causal and not block.context and setting.mapping.cp == 1
    return plain and cached and varlen_serves(block.head_dim) and varlen_profile(setting.chip) is not None


def seen_pairs(new: int, total: int, causal: bool, window: int | None = None, block: int | None = None) -> int:
    """(query, key) pairs that one sequence's head computes: the last ``new`` of ``total`` tokens are queries."""
    if block:
        whole, rest = divmod(new, block)
        return whole * block * block + rest * rest
    if not causal:
        return new * total
    first = total - new + 1
    if window and first >= window:
        return new * window
    if window and total > window:
        ramp = window - first + 1
        return ramp * (first + window) // 2 + (new - ramp) * window
    return new * (first + total) // 2

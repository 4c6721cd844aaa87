"""Every registered KV policy in a configuration that fits a budget, so that all can be compared at an equal one.

Sizes that a paper states in tokens (windows, blocks, frames) are scaled down where they would not fit; a wrapper gets
the base its paper uses it with. A policy that is registered by a plug-in takes part under its bare name.
"""

from __future__ import annotations

from dataclasses import dataclass

from algorithms.kv.registry import policy_class, policy_names


@dataclass(frozen=True)
class Entry:
    """A policy of the line-up.

    Parameters
    ----------
    name
        Registered.
    policy
        Text of the configuration.
    budgeted
        Whether the budget binds it; otherwise it keeps or sees what its own parameters say.
    """

    name: str
    policy: str
    budgeted: bool = True


_OWN_SIZES = frozenset({"full", "duo_attention", "specache", "linear_attention"})
"""Policies that no budget limits: exact, low-bit, of constant size, or split by trained heads."""


def line_up(budget: int, kv_heads: int, layers: int) -> tuple[Entry, ...]:
    """All policies at ``budget`` keys per KV head, sorted by name."""
    texts = _texts(budget, kv_heads, layers)
    return tuple(
        Entry(name, texts.get(name, name), name not in _OWN_SIZES)
        for name in policy_names()
        if name in texts or not policy_class(name).wraps
    )


def _texts(budget: int, kv_heads: int, layers: int) -> dict[str, str]:
    """Configurations that differ from the bare name."""
    frame = max(1, min(196, budget // 8))
    block = max(2, min(128, budget // 8))
    window = max(1, min(32, budget // 4))
    assign = ",".join(str(head % 2) for head in range(kv_heads))
    slope = [round(budget * (1.25 - 0.5 * layer / max(1, layers - 1))) for layer in range(layers)]
    infllm = f"init={block},local={budget // 2},block={block},blocks=none,chunk={min(512, budget // 2)}"
    ltri = f"init={block},local={budget // 4},span={max(2, block // 4)},spans=none,chunk={block}"
    return {
        "adakv": f"snapkv(window={window}) | adakv",
        "balancekv": f"balancekv(sink={window},window={window})",
        "block": f"keydiff | block({block})",
        "chunk": f"snapkv(window={window}) | chunk(20)",
        "every": "h2o | every(64)",
        "duo_attention": f"duo_attention(sink={min(64, budget // 8)},recent={max(1, min(256, budget // 4))})",
        "evict3r": f"evict3r(frame={frame})",
        "flash_vstream_like": f"flash_vstream_like(frame={frame})",
        "h2o_oneshot": f"h2o_oneshot(window={window})",
        "infinipot_v": f"infinipot_v(frame={frame})",
        "infllm": f"infllm({infllm})",
        "lagkv": f"lagkv(lag={block})",
        "ltri_like": f"ltri_like({ltri})",
        "moviechat_like": f"moviechat_like(frame={frame})",
        "once": "h2o | once",
        "per_head": f"per_head([snapkv(window={window}),streaming_llm],[{assign}])",
        "per_layer": f"tova | per_layer([{','.join(map(str, slope))}])",
        "pyramidkv": f"pyramidkv(window={window})",
        "quest": f"quest(page={max(1, min(16, budget // 4))},recent={max(1, min(16, budget // 4))})",
        "rekv": f"rekv(frame={frame},frames=none,local={budget})",
        "retroinfer": f"retroinfer(local={max(1, min(64, budget // 8))},cluster={max(1, min(16, budget // 8))})",
        "sink": f"sink(4) + window({budget - 4})",
        "snapkv": f"snapkv(window={window})",
        "streaming_vlm": f"streaming_vlm(text_sink={budget // 4},text_window={budget // 4})",
        "streammem_like": f"streammem_like(frame={frame})",
    }

"""Names of metrics as people read them, made from the names that stores and studies use."""

from __future__ import annotations

_OWNERS = ("model", "live", "stream", "tier", "kv", "fifo", "quality", "block", "image", "fpga")
"""First parts of names that say whose a number is; ``kv`` and ``fifo`` are kept as words."""
_SPOKEN_OWNERS = {"kv": "KV", "fifo": "FIFO", "image": "image", "quality": "quality,", "block": "block"}
_UNITS = ("_s", "_j", "_w", "_mm2")
"""Endings that only say a unit, which is shown with the value."""
_WORDS = {
    "ttft": "time to first token",
    "tpot": "time per output token",
    "itl": "gap between tokens",
    "p50": "(median)",
    "p99": "(99th percentile)",
    "mean": "(mean)",
    "kv": "KV",
    "usd": "USD",
    "flops": "FLOP",
    "macs": "multiply-adds",
    "dsp": "DSP slices",
    "bram36": "block RAMs",
    "faw": "four-activation window",
    "l2": "L2",
    "j": "energy",
}
_SHARES = ("_share", "_fraction", "hit_rate", ".efficiency", "_change", "_error")
_SHARE_OWNERS = ("busy.", "tier.lost.")


def display_name(name: str) -> str:
    """What a metric without a title is called: whose it is and its unit left out, its words spelled out.

    >>> display_name("live.ttft_p99_s"), display_name("model.usd_per_million_tokens"), display_name("kv.far_bytes")
    ('Time to first token (99th percentile)', 'USD per million tokens', 'KV far bytes')
    >>> display_name("tier.lost.row_cycle"), display_name("stream.busy_share"), display_name("wall_s")
    ('Lost row cycle', 'Busy share', 'Wall')
    """
    owner, dot, rest = name.partition(".")
    if not dot or owner not in _OWNERS:
        owner, rest = "", name
    for unit in _UNITS:
        rest = rest.removesuffix(unit)
    words = [_WORDS.get(word, word) for word in rest.replace(".", "_").split("_") if word]
    text = " ".join(filter(None, (_SPOKEN_OWNERS.get(owner, ""), *words)))
    return text[:1].upper() + text[1:]


def is_share(name: str) -> bool:
    """Whether the name of a metric without unit says that it is a part of a whole, which people read in per cent.

    >>> is_share("busy.matrix"), is_share("kv.hit_rate"), is_share("bound.ratio")
    (True, True, False)
    """
    return name.startswith(_SHARE_OWNERS) or name.endswith(_SHARES)


def spoken(title: str) -> str:
    """A title inside a sentence.

    >>> spoken("Energy per token"), spoken("KV far bytes"), spoken("USD per million tokens")
    ('energy per token', 'KV far bytes', 'USD per million tokens')
    """
    return title[:1].lower() + title[1:] if title[1:2].islower() or title[1:2] == " " else title

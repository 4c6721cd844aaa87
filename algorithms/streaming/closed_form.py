"""Cycles of the streaming variants in closed form, derived from the recurrence: what every simulation is held to.

**Symbols.** A score is the dot product of one query and one visible key. `P` scores in all (every head, every
sequence), `M` of them in the longest row (the number of keys). One score occupies the QK unit for `d` cycles and the
PV unit for `e` cycles: with row tokens `d = e = 1`, with scalar tokens `d = head_dim`, `e = v_head_dim`, one
multiply-add per cycle. `L_qk, L_exp, L_sum, L_div, L_pv` are the latencies of the parameters (row maxima, row sums and
scans share `reduce_latency = L_sum`); all other units have latency 1, all intervals are 1.

**Waiting for a row.** Where a unit needs the maximum or the sum of a row, it starts on the row when the
row's last score has passed the fork, and then takes the row score by score. Let `c_r` be the scores of row `r` and
`X_r = c_0 + ... + c_r`. Feeding takes `d` cycles per score, so row `r` is complete `d X_r` cycles after the start (up
to a latency), and the unit behind, at `e` cycles per score, begins row `r` at

    W_r = max(d X_r, W_(r-1) + e c_(r-1)) = e X_(r-1) + max over s <= r of (d c_s - (e - d) X_(s-1)),

a max-plus recurrence unrolled (Baccelli et al., Synchronization and Linearity, 1992, chapter 2). It ends the last row
at `W_last + e c_last`.

* `e <= d`: the bracket grows with `X`, and the last row is the longest (`c_last = M`), so the end is `d P + e M`: the
  scores set the pace, and the last row goes through PV alone (*drain*).
* `e > d`: PV sets the pace from its first row on; the end is `e P + lead`, where `lead` is the largest
  `d c_s - (e - d) X_(s-1)`, the time PV waits for scores. Full rows: `lead = d M`, reached by row 0. Causal rows grow
  by one key, so the bracket grows while `(e - d) c_s <= d` and is largest at the last such row of the first head.

The naive and the reordered variant wait for one row statistic. The scaled variant waits for two, maximum and sum: the
exponentials of a row pass at one per cycle between the two waits, which adds `c_r` to when row `r` is complete, so
`d + 1` takes the place of `d` in front of `c_s`, and `M` is added to the drain. Without any wait (memory-free, or
reordered without row maximum) scores follow each other through QK and PV like through any pipeline, which takes
`d + e + (P - 1) max(d, e)`.

**Start-up and end.** The critical path runs through these units, each adding its latency once:

    naive         q, q_hold, qk, exp, weight_fork, row_sum, sum_hold, div, [weight_hold], pv, out
    scaled        q, q_hold, qk, score_fork, row_max, max_hold, subtract, exp, weight_fork, row_sum, sum_hold, div,
                  [weight_hold], pv, out
    reordered     q, q_hold, qk, score_fork, row_max, max_hold, subtract, exp, weight_fork, [weight_hold], pv, div, out
    memory_free   q, q_hold, qk, online_max, weight_fork, [weight_hold], pv, div, out
    without max   q, q_hold, qk, exp, weight_fork, [weight_hold], pv, div, out

(`weight_hold` with scalar tokens only). Where the division comes last it needs the row sum too, which leaves
`weight_fork` beside PV: `max(L_pv, L_sum)`. In scalar tokens PV holds `e` registers and emits them with the last `e`
updates, so the `e` divisions end one cycle per element behind; they overlap the drain. From the first to the last
start of a unit that is occupied for `n` cycles there are `n - 1`, so every pass counted above (scores, exponentials
between two waits, PV) gives one cycle back; and a run ends one interval after its last start, which is the one cycle
that `out` counts for.

**Known values.** Unit latencies, row tokens, full mask, N queries and keys: naive `N N + N + 8`, scaled
`N N + 2 N + 11`, reordered `N N + N + 10`, memory-free `N N + 7`. Scalar tokens of D elements: naive
`N N D + N D + 9`, scaled `N N D + N D + N + 12`, reordered `N N D + N D + 11`, memory-free `N N D + D + 7`.
"""

from __future__ import annotations

from algorithms.streaming.parameters import StreamingParameters
from algorithms.streaming.reordered import ReorderedParameters
from algorithms.workload.shape import Workload
from hwmodels.reading.errors import InputError, Problem

VARIANTS = ("sdpa.naive", "sdpa.scaled", "sdpa.reordered", "sdpa.memory_free")
# Units of latency 1 on the critical path.
_ALWAYS = 4  # q, q_hold, weight_fork, out
_SUM_FIRST = 1  # sum_hold
_MAX_FIRST = 3  # score_fork, max_hold, subtract


def streaming_cycles(variant: str, workload: Workload, parameters: StreamingParameters) -> int:
    """Cycles that `variant` takes on `workload`, without simulating it.

    Raises
    ------
    InputError
        Where the formula does not hold: see `outside_the_closed_form`.
    """
    problems = outside_the_closed_form(variant, workload, parameters)
    if problems:
        raise InputError(problems)
    max_first, sum_first = _waits(variant, parameters)
    scalar = parameters.granularity == "scalar"
    score_cycles = workload.head_dim if scalar else 1
    weight_cycles = workload.v_head_dim if scalar else 1
    if max_first or sum_first:
        passes = 2 + (max_first and sum_first)
        occupied = _with_row_waits(workload, score_cycles, weight_cycles, passes - 2)
    else:
        passes = 2
        occupied = score_cycles + weight_cycles + (workload.exponentials - 1) * max(score_cycles, weight_cycles)
    plumbing = _ALWAYS + sum_first * _SUM_FIRST + max_first * _MAX_FIRST + scalar
    return occupied + plumbing - passes + _latencies(parameters, max_first=max_first, sum_first=sum_first)


def _waits(variant: str, parameters: StreamingParameters) -> tuple[bool, bool]:
    """Whether weights wait for the maximum of their row, and for its sum."""
    without_max = isinstance(parameters, ReorderedParameters) and not parameters.row_max
    max_first = variant in ("sdpa.scaled", "sdpa.reordered") and not without_max
    return max_first, variant in ("sdpa.naive", "sdpa.scaled")


def _with_row_waits(workload: Workload, score_cycles: int, weight_cycles: int, extra_passes: int) -> int:
    """Cycles from the first multiply-add of QK to the last of PV when rows wait for a statistic of their own."""
    scores, longest = workload.exponentials, workload.kv_len
    surplus = weight_cycles - score_cycles
    if surplus <= 0:
        return score_cycles * scores + (extra_passes + weight_cycles) * longest
    row = 0
    first = longest
    if workload.mask == "causal":
        first = longest - workload.q_len + 1
        # row s + 1 leads more than row s while (d + extra) - (e - d) c_s > 0
        row = min(max((score_cycles + extra_passes) // surplus - first + 1, 0), workload.q_len - 1)
    length, before = first + row, row * first + row * (row - 1) // 2
    return weight_cycles * scores + (score_cycles + extra_passes) * length - surplus * before


def _latencies(parameters: StreamingParameters, *, max_first: bool, sum_first: bool) -> int:
    """Latencies of the parameters along the critical path."""
    reduce, pv = parameters.reduce_latency, parameters.pv_latency
    accumulated = reduce + pv if sum_first else max(reduce, pv)
    return parameters.qk_latency + max_first * reduce + parameters.exp_latency + accumulated + parameters.div_latency


def outside_the_closed_form(variant: str, workload: Workload, parameters: StreamingParameters) -> list[Problem]:
    """Reasons why `streaming_cycles` is not exact; empty where it is.

    The derivation assumes that every unit can start every cycle and that no short FIFO ever blocks: a FIFO carries one
    token per cycle over a round trip of latency + 1 only if it is at least as deep.
    """
    problems = []
    if variant not in VARIANTS:
        problems.append(Problem(f"no closed form for {variant!r}; there are {', '.join(VARIANTS)}"))
    _, sum_first = _waits(variant, parameters)
    latencies = {
        name: getattr(parameters, name)
        for name in ("qk_latency", "exp_latency", "reduce_latency", "div_latency", "pv_latency")
    }
    needed = 1 + max(latencies.values())
    if parameters.fifo_depth < needed:
        problems.append(Problem(f"must be at least {needed} for full rate", field="fifo_depth"))
    if parameters.long_depth or parameters.depths:
        problems.append(Problem("single FIFO depths must be left to the algorithm", field="depths"))
    if (parameters.mac_ii(workload.head_dim), parameters.exp_ii, parameters.div_ii) != (1, 1, 1):
        problems.append(Problem("every unit must accept a token per cycle", field="mac_lanes, exp_lanes, div_lanes"))
    if parameters.granularity == "scalar" and not sum_first and latencies["reduce_latency"] > latencies["pv_latency"]:
        problems.append(Problem("must not exceed pv_latency with scalar tokens", field="reduce_latency"))
    return problems

"""KV policies: the contract between a cache, what selects from it, and what that costs.

A policy file needs little else than ``from algorithms.kv import KVPolicy, PolicyState, kv_policy``.
"""

from algorithms.kv.budget import KVBudget, Sizes
from algorithms.kv.cache import Array, KVCache, Span
from algorithms.kv.checks import at_least, problems_to_error
from algorithms.kv.cost import SCORE_BYTES, CacheShape, Transfer, Work, ranking_work
from algorithms.kv.layer import Action, Exactness, HeadScope, LayerContext, Need, Schedule
from algorithms.kv.placement import Placement
from algorithms.kv.policy import HeadPart, KVPolicy, PolicyState, Union
from algorithms.kv.ranking import IntArray, Mask, group_reduce, indices_of, keep_by_score, pool, top_mask
from algorithms.kv.registry import kv_policy, policy_class, policy_names
from algorithms.kv.score import ScoreState, newest, oldest
from algorithms.kv.step import Seen, Selection, Step
from algorithms.kv.text import parse_policy, policy_from
from algorithms.kv.wrapper import Wrapper, WrapperState

__all__ = [
    "SCORE_BYTES",
    "Action",
    "Array",
    "CacheShape",
    "Exactness",
    "HeadPart",
    "HeadScope",
    "IntArray",
    "KVBudget",
    "KVCache",
    "KVPolicy",
    "LayerContext",
    "Mask",
    "Need",
    "Placement",
    "PolicyState",
    "Schedule",
    "ScoreState",
    "Seen",
    "Selection",
    "Sizes",
    "Span",
    "Step",
    "Transfer",
    "Union",
    "Work",
    "Wrapper",
    "WrapperState",
    "at_least",
    "group_reduce",
    "indices_of",
    "keep_by_score",
    "kv_policy",
    "newest",
    "oldest",
    "parse_policy",
    "policy_class",
    "policy_from",
    "policy_names",
    "pool",
    "problems_to_error",
    "ranking_work",
    "top_mask",
]

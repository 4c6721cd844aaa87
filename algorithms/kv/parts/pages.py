"""Pages of neighbouring tokens: bounds, means and token masks."""

from __future__ import annotations

import numpy as np

from algorithms.kv.cache import Array
from algorithms.kv.ranking import Mask


class PageBounds:
    """Elementwise minimum and maximum of the keys of each page; whole pages are computed once.

    Parameters
    ----------
    page
        Tokens per page.
    """

    def __init__(self, page: int) -> None:
        self.page = page
        self._low: Array | None = None
        self._high: Array | None = None
        self._pages = 0

    def of(self, keys: Array) -> tuple[Array, Array]:
        """Bounds `(heads, pages, head_dim)` of `keys` `(heads, n, head_dim)`, a last partial page included."""
        whole = keys.shape[1] // self.page
        if whole > self._pages:
            self._add(keys, whole)
        if self._low is None or self._high is None:
            return keys.min(1, keepdims=True), keys.max(1, keepdims=True)
        low, high = self._low[:, :whole], self._high[:, :whole]
        tail = keys[:, whole * self.page :]
        if tail.shape[1]:
            low = np.concatenate([low, tail.min(1, keepdims=True)], 1)
            high = np.concatenate([high, tail.max(1, keepdims=True)], 1)
        return low, high

    def _add(self, keys: Array, whole: int) -> None:
        fresh = keys[:, self._pages * self.page : whole * self.page]
        cut = fresh.reshape(keys.shape[0], whole - self._pages, self.page, -1)
        self._low = _appended(self._low, cut.min(2), self._pages)
        self._high = _appended(self._high, cut.max(2), self._pages)
        self._pages = whole


def _appended(table: Array | None, rows: Array, used: int) -> Array:
    """`table` `(heads, capacity, dim)` with `rows` behind `used`; grows by half when full."""
    needed = used + rows.shape[1]
    if table is None or table.shape[1] < needed:
        grown = np.empty((rows.shape[0], needed + needed // 2, rows.shape[2]), rows.dtype)
        if table is not None:
            grown[:, :used] = table[:, :used]
        table = grown
    table[:, used:needed] = rows
    return table


def page_tokens_mask(pages: Mask, page: int, limit: int, count: int) -> Mask:
    """`(heads, count)` of the tokens of the marked `pages` `(heads, pages)`, below rank `limit`."""
    mask = np.zeros((pages.shape[0], count), bool)
    mask[:, :limit] = np.repeat(pages, page, axis=1)[:, :limit]
    return mask


def segment_means(rows: Array, size: int) -> Array:
    """Mean of every `size` neighbouring rows: `(heads, n // size, dim)` from `(heads, n, dim)`."""
    whole = rows.shape[1] // size
    means: Array = rows[:, : whole * size].reshape(rows.shape[0], whole, size, -1).mean(2)
    return means

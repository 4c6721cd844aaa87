"""Whole numbers that grow by the same amount from row to row, and what is known of them over many rows."""

from __future__ import annotations

from typing import NamedTuple


class Affine(NamedTuple):
    """``base + slope * row``, exactly."""

    base: int
    slope: int = 0

    def at(self, row: int) -> int:
        """Its value in a row."""
        return self.base + self.slope * row

    def plus(self, other: Affine) -> Affine:
        """Sum of two."""
        return Affine(self.base + other.base, self.slope + other.slope)

    def minus(self, other: Affine) -> Affine:
        """Difference of two."""
        return Affine(self.base - other.base, self.slope - other.slope)

    def more(self, constant: int) -> Affine:
        """A constant more."""
        return Affine(self.base + constant, self.slope)

    def times(self, factor: int) -> Affine:
        """A multiple."""
        return Affine(self.base * factor, self.slope * factor)

    def before(self, rows: int) -> Affine:
        """Its value so many rows earlier, as a function of this row."""
        return Affine(self.base - self.slope * rows, self.slope)

    def total(self, first: int, end: int) -> int:
        """Sum over the rows ``first`` to ``end - 1``."""
        count = max(end - first, 0)
        return self.base * count + self.slope * (count * (first + end - 1) // 2)


class Quadratic(NamedTuple):
    """A number whose growth from row to row grows by the same amount: ``second`` is its second difference."""

    base: int
    first: int
    second: int

    @classmethod
    def through(cls, zero: int, one: int, two: int) -> Quadratic:
        """The one with these values in rows 0, 1 and 2."""
        return cls(zero, one - zero, two - 2 * one + zero)

    def at(self, row: int) -> int:
        """Its value in a row."""
        return self.base + self.first * row + self.second * (row * (row - 1) // 2)

    def since(self, rows: int) -> Affine:
        """How much it has grown in the last so many rows."""
        # sum over i = 1..rows of first + second * (row - i)
        return Affine(rows * self.first - self.second * (rows * (rows + 1) // 2), rows * self.second)


ZERO = Affine(0)


def line_through(values: list[int]) -> Affine | None:
    """The affine number with these values in rows 0, 1 and so on, None if there is none."""
    line = Affine(values[0], values[1] - values[0])
    return line if all(line.at(row) == value for row, value in enumerate(values)) else None


def is_never_above(low: Affine, high: Affine, rows: tuple[int, int]) -> bool:
    """Whether ``low <= high`` in all rows between the first and the last of ``rows``."""
    return all(low.at(row) <= high.at(row) for row in rows)


def larger(one: Affine, other: Affine, rows: tuple[int, int]) -> Affine | None:
    """Whichever is never below the other in these rows; None where that changes."""
    if is_never_above(one, other, rows):
        return other
    return one if is_never_above(other, one, rows) else None


def smaller(one: Affine, other: Affine, rows: tuple[int, int]) -> Affine | None:
    """Whichever is never above the other in these rows; None where that changes."""
    if is_never_above(one, other, rows):
        return one
    return other if is_never_above(other, one, rows) else None

"""Blocks of rates: coarse classes of a rate, so that an index can order the darks of each class by their error."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

BLOCKS_PER_RATE = 4e6
"""Blocks are 2.5e-7 count/s/pixel wide: about half the error of a dark of 1000 s."""


def block_of(rate_count_s_pix: float | None) -> int | None:
    """Return the block of a rate in count/s/pixel; None if it was not measured."""
    return None if rate_count_s_pix is None else math.floor(rate_count_s_pix * BLOCKS_PER_RATE)


def block_by_default(column: str) -> Callable[[Any], int | None]:
    """Return SQLAlchemy's default for the block of a rate in a new row; an update sets it beside the rate."""

    def default(context: Any) -> int | None:
        return block_of(context.get_current_parameters().get(column))

    return default


def distance_to(block: int, rate: float) -> float:
    """Return the distance in count/s/pixel from a rate to the nearest rate of a block, never too large."""
    low, high = block / BLOCKS_PER_RATE, (block + 1) / BLOCKS_PER_RATE
    # The margin covers the rounding of the product that made the block.
    return max(low - rate, rate - high, 0.0) * (1 - 1e-9)


def farthest_in(block: int, rate: float) -> float:
    """Return the distance in count/s/pixel from a rate to the farthest rate of a block, never too small."""
    low, high = block / BLOCKS_PER_RATE, (block + 1) / BLOCKS_PER_RATE
    return max(high - rate, rate - low) * (1 + 1e-9)

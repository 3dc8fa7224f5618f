"""Simulated sources over real darks, through the commands: they come out as they went in.

The benchmark command_chain.py prints the same for more products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from benchmarks.chain import dark_paths, unpacked_flat
from benchmarks.command_chain import (
    METHODS,
    SKIES,
    SOURCES,
    Measured,
    measure_product,
    products_of,
    recovered,
    variances,
)

if TYPE_CHECKING:
    from pathlib import Path

    from commands import Commands

pytestmark = [pytest.mark.slow, pytest.mark.long]


@pytest.fixture(scope="module")
def found(shared_data: Path, commands: Commands, tmp_path_factory: pytest.TempPathFactory) -> list[Measured]:
    """Measure three products of two exposures each, a cold and a warm one, as they are and with a sky."""
    folder = tmp_path_factory.mktemp("chain")
    flat = unpacked_flat(shared_data, folder)
    measured: list[Measured] = []
    for number, darks in enumerate(products_of(3, 2, len(dark_paths(shared_data)))):
        measured += measure_product(commands, number, darks, shared_data, flat, folder / str(number))
    return measured


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sky", SKIES)
def test_blank_apertures_and_sources_scatter_by_their_errors(found: list[Measured], sky: float, method: str) -> None:
    own = [one for one in found if (one.sky, one.method) == (sky, method)]
    products = [[one for one in own if one.product == number] for number in range(3)]
    pulls = np.array([[one.pull for one in product] for product in products])
    of_mean, of_square = np.sqrt(np.sum([variances(product) for product in products], axis=0)) / len(products)
    assert abs(pulls.mean()) < 3 * of_mean
    assert abs((pulls**2).mean() - 1) < 3 * of_square


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sky", SKIES)
def test_sources_of_50_to_5000_counts_come_out_without_bias(found: list[Measured], sky: float, method: str) -> None:
    for counts in SOURCES:
        own = [one for one in found if (one.counts, one.sky, one.method) == (counts, sky, method)]
        ratio, error = recovered(own)
        assert abs(ratio - 1) < 3 * error, counts

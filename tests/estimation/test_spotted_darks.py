"""A dark with a source in it takes no part in a dark, and is named."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from astropy.io import fits

from sbcdark import Catalog
from sbcdark.catalog.errors import NothingMatchedError

if TYPE_CHECKING:
    from pathlib import Path

EXPOSURE = "jcmc11e6q"


@pytest.fixture(scope="module")
def nearest(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalog, str]:
    """Return a catalog of good darks, and the dark nearest to the exposure."""
    catalog = Catalog(tmp_path_factory.mktemp("good") / "catalog.db")
    catalog.ingest([shared_data / "darks_13961", shared_data / "science_13655_standin"])
    return catalog, catalog.match(EXPOSURE).darks[0].dark


@pytest.fixture(scope="module")
def spotted(shared_data: Path, nearest: tuple[Catalog, str], tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    """Return a catalog in which this dark has a source of 2000 counts at (400, 500), outside the box."""
    folder = tmp_path_factory.mktemp("spotted")
    darks = folder / "darks"
    shutil.copytree(shared_data / "darks_13961", darks)
    path = darks / f"{nearest[1]}_raw.fits.gz"
    y, x = np.indices((1024, 1024))
    source = np.exp(-((x - 400) ** 2 + (y - 500) ** 2) / 200) * 2000 / (200 * np.pi)
    with fits.open(path) as hdus:
        hdus[1].data = (hdus[1].data + np.random.default_rng(6).poisson(source)).astype(np.int16)
        hdus.writeto(path, overwrite=True)
    catalog = Catalog(folder / "catalog.db")
    catalog.ingest([darks, shared_data / "science_13655_standin"])
    return catalog


def named(warnings: tuple[str, ...], dark: str) -> list[str]:
    return [text for text in warnings if text.startswith(f"dark {dark} is")]


@pytest.mark.parametrize("combine", ["model", "nearest", "mean"])
def test_the_dark_is_left_out(nearest: tuple[Catalog, str], spotted: Catalog, shared_data: Path, combine: str) -> None:
    good, dark = nearest
    assert spotted.match(EXPOSURE).darks[0].dark == dark
    flat = shared_data / "science_13655_standin"
    clean = good.dark(EXPOSURE, flat=flat, combine=combine)
    assert not any("compared" in text or "left out" in text for text in clean.warnings)
    assert dark in {one.dark for one in clean.match.darks}
    if combine != "model":  # only this dark fits within 2 sigma; that others are farther off is for the user to decide
        with pytest.raises(NothingMatchedError, match=f"dark {dark} is left out: 2,"):
            spotted.dark(EXPOSURE, flat=flat, combine=combine)
    rule = {} if combine == "model" else {"max_sigma": 50.0}
    made = spotted.dark(EXPOSURE, flat=flat, combine=combine, **rule)
    (told,) = named(made.warnings, dark)
    assert "left out: 2," in told or "left out: 1," in told
    assert f'retire("{dark}", reason="bright spot")' in told
    assert ("use it all the same" in told) == (combine != "model")
    assert dark not in {one.dark for one in made.match.darks}
    # The truth of the model is the dark without the source, known to the counts of the darks.
    under = np.s_[480:520, 380:420]
    true, found = clean.rate[under].sum(), made.rate[under].sum()
    error = np.sqrt(2 * true / 1000.0)
    assert combine != "model" or abs(found - true) < 2 * error


def test_a_named_dark_is_used_all_the_same(nearest: tuple[Catalog, str], spotted: Catalog, shared_data: Path) -> None:
    dark, other = nearest[1], "jcrx01iyq"
    flat = shared_data / "science_13655_standin"
    made = spotted.dark(EXPOSURE, flat=flat, use={EXPOSURE: [dark, other]})
    assert [one.dark for one in made.match.darks] == [dark, other]
    (told,) = named(made.warnings, dark)
    assert "used as given" in told


@pytest.mark.slow
def test_validation_leaves_it_out(nearest: tuple[Catalog, str], spotted: Catalog) -> None:
    tested, warnings = spotted.validate(apertures=2)
    assert sum(row.number for row in tested.rows if row.method == "model") == 19
    assert named(warnings, nearest[1])


@pytest.mark.slow
@pytest.mark.parametrize("keywords", [{}, {"combine": "mean", "max_sigma": 50.0}, {"use": True}])
def test_a_run_is_told_and_replayed(
    nearest: tuple[Catalog, str], spotted: Catalog, shared_data: Path, tmp_path: Path, keywords: dict[str, object]
) -> None:
    dark = nearest[1]
    given = {"use": {EXPOSURE: dark}} if "use" in keywords else keywords
    flat = shared_data / "science_13655_standin"
    made = spotted.run(EXPOSURE, tmp_path / "made", flat=flat, pictures=False, **given)
    with fits.open(made.masterdark) as hdus:
        history = " ".join(hdus[0].header["HISTORY"])
        assert (dark in history) == (dark in hdus["DARKS"].data["dark"]) == ("use" in keywords)
    assert all(one.identical for one in spotted.replay(EXPOSURE, tmp_path / "again", flat=flat))

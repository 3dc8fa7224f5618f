"""Ingest with a flat at hand: the rates of an FLT are those of FLT x flat, like with like with the darks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from astropy.io import fits
from helpers import copied, counts

from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import BadFileError
from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.detector.regions import BOX, QUIET, good_pixels
from sbcdark.pipeline.estimation.science_frames import FlatShelf, science_values
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.selection.choice import match
from sbcdark.pipeline.views.listings import show

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import sqlalchemy as sa
    from commands import Done

NAME = "jcmc11e6q"


@pytest.fixture
def folder(shared_data: Path, tmp_path: Path) -> Path:
    """Return a folder with one FLT; its flat is in another folder."""
    copied(shared_data, tmp_path / "program", f"{NAME}_flt")
    return tmp_path / "program"


def rates(catalog: sa.Engine) -> dict[str, Any]:
    """Return what the newest file of the exposure gives."""
    known = show(catalog, NAME)
    newest = known["measurements"][0]["file"]
    return {one["region"]: one for one in known["measurements"] if one["file"] == newest}


def test_rates_are_those_of_the_flt_times_its_flat(empty_catalog: sa.Engine, folder: Path, flats: Path) -> None:
    ingest(empty_catalog, [folder], flat=flats)
    with fits.open(folder / f"{NAME}_flt.fits.gz") as hdus, fits.open(next(flats.iterdir())) as flat:
        raw = hdus[1].data.astype(np.float64) * flat[1].data.astype(np.float64)
        seconds = hdus[0].header["EXPTIME"]
    found = rates(empty_catalog)
    assert found["box"]["counts"] == pytest.approx(raw[BOX.slices].sum(), rel=1e-12)
    quiet = good_pixels()[QUIET.slices]
    expected = raw[QUIET.slices][quiet].sum() / quiet.sum() / seconds
    assert found["quiet"]["rate_count_s_pix"] == pytest.approx(expected, rel=1e-12)
    (file,) = show(empty_catalog, NAME)["files"]
    assert file["multiplied_by"] == "sbc_standin_pfl.fits"


def test_flat_that_comes_later_is_used_by_the_next_ingest(empty_catalog: sa.Engine, folder: Path, flats: Path) -> None:
    ingest(empty_catalog, [folder])
    before = rates(empty_catalog)["box"]
    first = ingest(empty_catalog, [folder], flat=flats)
    assert counts(first) == (0, 1, 0, 0)
    after = rates(empty_catalog)["box"]
    # The stand-in's flat is 4 % off 1 in the box.
    assert abs(after["counts"] / before["counts"] - 1) > 0.01
    assert [one.exposure for one in first.superseded] == [NAME]
    kept = {file["multiplied_by"]: file["state"] for file in show(empty_catalog, NAME)["files"]}
    assert kept == {None: "changed", "sbc_standin_pfl.fits": "present"}
    # With and without the flat, nothing changes any more.
    assert counts(ingest(empty_catalog, [folder], flat=flats)) == (0, 0, 1, 0)
    assert counts(ingest(empty_catalog, [folder])) == (0, 0, 1, 0)
    assert rates(empty_catalog)["box"] == after


def test_touched_file_keeps_the_rates_of_the_flat(empty_catalog: sa.Engine, folder: Path, flats: Path) -> None:
    ingest(empty_catalog, [folder], flat=flats)
    before = rates(empty_catalog)
    (folder / f"{NAME}_flt.fits.gz").touch()
    assert counts(ingest(empty_catalog, [folder])) == (0, 0, 1, 0)
    assert rates(empty_catalog) == before


def test_flat_that_is_broken_costs_no_exposure(empty_catalog: sa.Engine, folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "jref"
    broken.mkdir()
    (broken / "sbc_standin_pfl.fits").write_bytes(b"SIMPLE  =" + 2871 * b" ")
    assert counts(ingest(empty_catalog, [folder], flat=broken)) == (1, 0, 0, 0)
    (file,) = show(empty_catalog, NAME)["files"]
    assert file["multiplied_by"] is None


def test_command_says_what_the_rates_are_of(sbcdark: Callable[..., Done], folder: Path, flats: Path) -> None:
    sbcdark("ingest", folder)
    assert "of the FLT's own counts" in sbcdark("show", NAME).stdout
    sbcdark("ingest", folder, "--flat", flats)
    assert "of FLT x sbc_standin_pfl.fits" in sbcdark("show", NAME).stdout


def test_darks_of_the_same_detector_counts_are_chosen(shared_data: Path, tmp_path: Path, flats: Path) -> None:
    """A frame of the detector's counts, divided by the flat, has the difference 0 to its own dark."""
    name = "jcrx01j1q"
    dark = shared_data / "darks_13961" / f"{name}_raw.fits.gz"
    copied(shared_data, tmp_path, f"{NAME}_flt")
    with (
        fits.open(dark) as raw,
        fits.open(next(flats.iterdir())) as flat,
        fits.open(tmp_path / f"{NAME}_flt.fits.gz") as flt,
    ):
        seconds = raw[0].header["EXPTIME"]
        flt[1].data = (raw[1].data / flat[1].data).astype(np.float32)
        flt[0].header["EXPTIME"] = seconds
        flt.writeto(tmp_path / "program_flt.fits")
    differences = []
    for given in (None, flats):
        catalog = open_catalog(f"sqlite:///{tmp_path / f'{given is None}.db'}", create=True)
        ingest(catalog, [dark, tmp_path / "program_flt.fits"], flat=given)
        (found,) = match(catalog, NAME)
        differences.append(found.darks[0].delta_sigma)
        catalog.dispose()
    assert abs(differences[0]) > 0.5
    assert abs(differences[1]) < 1e-3


@pytest.mark.parametrize("command", [("ingest", "."), ("plot", "fit", NAME, "-o", "fit.png")])
def test_flat_that_does_not_exist_is_wrong_usage(
    sbcdark: Callable[..., Done], folder: Path, command: tuple[str, ...]
) -> None:
    sbcdark("ingest", folder)
    done = sbcdark(*command, "--flat", "flatz")
    assert done.code == 2
    assert "There is no flat at flatz." in done.stderr


@pytest.mark.parametrize("card", [{}, {"FILTER1": "F115LP"}, {"DETECTOR": "HRC"}])
def test_a_flat_that_did_not_divide_the_frame_is_told(
    empty_catalog: sa.Engine, folder: Path, flats: Path, tmp_path: Path, card: dict[str, str]
) -> None:
    ingest(empty_catalog, [folder])
    other = tmp_path / "other_pfl.fits"
    with fits.open(next(flats.iterdir())) as hdus:
        hdus[0].header.update(card)
        hdus.writeto(other)
    with reading(empty_catalog) as session:
        values = science_values(session, NAME)
    warnings: list[str] = []
    if "DETECTOR" in card:
        with pytest.raises(BadFileError, match="is a flat of the HRC, not of the SBC"):
            FlatShelf(other).flat_of(values, warnings)
        return
    assert FlatShelf(other).flat_of(values, warnings) is not None
    (told,) = warnings
    what = "other_pfl.fits, a flat for F115LP" if card else "other_pfl.fits"
    assert f"divided by sbc_standin_pfl.fits, but --flat is {what}:" in told
    for same in (flats, flats / "sbc_standin_pfl.fits"):
        FlatShelf(same).flat_of(values, warnings)
    assert warnings == [told]


def test_a_flat_correction_that_is_still_to_be_performed_is_told(
    empty_catalog: sa.Engine, folder: Path, flats: Path
) -> None:
    with fits.open(folder / f"{NAME}_flt.fits.gz") as hdus:
        hdus[0].header["FLATCORR"] = "PERFORM"
        hdus.writeto(folder / f"{NAME}_flt.fits.gz", overwrite=True)
    ingest(empty_catalog, [folder])
    warnings: list[str] = []
    with reading(empty_catalog) as session:
        assert FlatShelf(flats).flat_of(science_values(session, NAME), warnings) is None
    assert "FLATCORR is PERFORM" in warnings[0]


def test_flats_of_several_files_are_told_and_their_product_is_used(
    empty_catalog: sa.Engine, folder: Path, flats: Path, tmp_path: Path
) -> None:
    """PFLTFILE alone is not what divided an FLT that names a delta or low-order flat, too."""
    with fits.open(folder / f"{NAME}_flt.fits.gz") as hdus:
        hdus[0].header["DFLTFILE"], hdus[0].header["LFLTFILE"] = "jref$a_dfl.fits", " N/A "
        hdus.writeto(folder / f"{NAME}_flt.fits.gz", overwrite=True)
    product = tmp_path / "product.fits"
    product.write_bytes((flats / "sbc_standin_pfl.fits").read_bytes())
    warnings: list[str] = []
    for given, multiplied_by in ((flats, None), (product, "product.fits")):
        ingest(empty_catalog, [folder], flat=given)
        with reading(empty_catalog) as session:
            values = science_values(session, NAME)
        assert values.file is not None
        assert values.file.multiplied_by == multiplied_by
        assert (FlatShelf(given).flat_of(values, warnings) is None) == (multiplied_by is None)
    (told,) = warnings
    assert "divided by jref$sbc_standin_pfl.fits x jref$a_dfl.fits, of which no file is the product" in told

"""Checks that exposures belong in one product: filter, calibration, WCS solution, pointing. Works on records only."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.detector.constants import is_prism

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from sbcdark.catalog.records import FileRecord, MatchValues
    from sbcdark.pipeline.estimation.science_frames import ScienceInput

WIDEST_ARCSEC = 240.0
"""Widest extent of a product: 7 SBC fields of 35 x 31 arcsec side by side, 9,600 product pixels. Anything wider is an
error in the pointing or in the choice of exposures."""

WIDEST_MIXED_ARCSEC = 600.0
"""Widest extent with --mixed: images of 2.3 GB, of which AstroDrizzle holds three in memory."""

_FILTER = re.compile(r"\b(?:F[0-9]{3}[A-Z]+|PR[0-9]{3}L)\b")
"""A filter of the SBC in PHOTMODE, such as ``ACS SBC F125LP MJD#57125.27``."""

_INSIST = "Name exposures that belong together, or combine them with --mixed (without a flux)."


def require_one_filter(exposures: Sequence[MatchValues], *, mixed: bool) -> None:
    """Reject exposures with different filters or through a prism.

    Raises
    ------
    UsageError
        The filters differ and `mixed` is False, or an exposure was taken through a prism.
    """
    prisms = [one.rootname for one in exposures if is_prism(one.filter)]
    if prisms:
        raise UsageError(
            f"Exposures through a prism are not drizzled: {', '.join(prisms)}.",
            f"Subtract their dark in detector pixels: sbcdark subtract {' '.join(prisms)} -o DIR",
        )
    by_filter = _by({one.rootname: one.filter for one in exposures})
    if len(by_filter) > 1 and not mixed:
        raise UsageError(f"The exposures have different filters: {_listed(by_filter)}.", _INSIST)


def require_one_field(inputs: Sequence[ScienceInput], *, mixed: bool) -> None:
    """Reject exposures that are farther apart than any SBC mosaic.

    Raises
    ------
    UsageError
        Their product would be wider than `WIDEST_ARCSEC` (`WIDEST_MIXED_ARCSEC` with `mixed`).
    """
    # AstroDrizzle places exposures of a moving target at the pointing of the first.
    fixed = [one for number, one in enumerate(inputs) if number == 0 or not one.frame.moving_target]
    corners = np.array([one.frame.wcs.calc_footprint(axes=(1024, 1024)) for one in fixed]).reshape(-1, 2)
    ra, dec = np.radians(corners).T
    positions = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    chord = np.linalg.norm(positions[:, None] - positions[None], axis=2).max()
    extent = math.degrees(2 * math.asin(min(chord / 2, 1.0))) * 3600
    widest = WIDEST_MIXED_ARCSEC if mixed else WIDEST_ARCSEC
    if not extent <= widest:
        far = f"{extent:.0f} arcsec" if extent < 3600 else f"{extent / 3600:.2f} degrees"
        names = ", ".join(one.values.rootname for one in fixed)
        raise UsageError(f"{names} extend over {far}; a product has at most {widest:.0f} arcsec.", _INSIST)


def differences(inputs: Sequence[ScienceInput]) -> list[str]:
    """Return warnings that name members with different calibration, WCS solution or dark correction."""
    files = {one.values.rootname: one.file for one in inputs}
    texts = []
    if any(one.frame.moving_target for one in inputs) and len(inputs) > 1:
        names = ", ".join(one.values.rootname for one in inputs if one.frame.moving_target)
        texts.append(f"{names}: MTFLAG is T (moving target), so the frames are aligned on the detector, not on the sky")
    newest = last_calibrated(list(files.values()))
    for keyword, column, what in (
        ("PHOTFLAM", "photflam_erg_s_cm2_a", "flux uses"),
        ("PHOTPLAM", "photplam_a", "AB magnitudes use"),
    ):
        found = _by({name: getattr(file, column) for name, file in files.items()})
        used = None if newest is None else getattr(newest, column)
        if len(found) > 1:
            texts.append(
                f"the exposures have different {keyword}: {_listed(found)}; calibrate them alike"
                + ("" if used is None else f". The {what} {used:.4g}, that of the latest calibration")
            )
    for one in inputs:
        named = _FILTER.findall((one.frame.photometry_mode or "").upper())
        if one.file.photflam_erg_s_cm2_a is not None and named and (one.values.filter or "").upper() not in named:
            texts.append(
                f"{one.values.rootname} has FILTER1 {one.values.filter}, but PHOTMODE is of {', '.join(named)}, so its "
                "PHOTFLAM is of another filter; calibrate it again"
            )
    for what, values in (
        ("WCS solutions (WCSNAME)", {one.values.rootname: one.frame.wcs_name for one in inputs}),
        ("DARKCORR", {name: file.dark_correction for name, file in files.items()}),
        ("calibration versions (CAL_VER)", {name: file.calibration_version for name, file in files.items()}),
    ):
        found = _by(values)
        if len(found) > 1:
            texts.append(f"the exposures have different {what}: {_listed(found)}; calibrate them alike")
    return texts


def last_calibrated(files: Sequence[FileRecord]) -> FileRecord | None:
    """Return the most recently calibrated file that has a PHOTFLAM, in any order of the files; None if none has one.

    The sensitivity is the same for all exposures of a filter: the latest calibration is the most accurate.
    """
    known = [file for file in files if file.photflam_erg_s_cm2_a is not None]
    return max(
        known,
        key=lambda file: (
            file.processed_mjd or 0.0,
            file.calibration_version or "",
            -(file.photflam_erg_s_cm2_a or 0.0),
            file.photplam_a or 0.0,
        ),
        default=None,
    )


def _by(values: Mapping[str, Hashable]) -> dict[Hashable, list[str]]:
    found: dict[Hashable, list[str]] = {}
    for name, value in values.items():
        found.setdefault(value, []).append(name)
    return found


def _listed(groups: Mapping[Hashable, Sequence[str]]) -> str:
    parts = []
    for value, names in groups.items():
        shown = "missing" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
        parts.append(f"{shown} ({', '.join(names)})")
    return ", ".join(parts)

"""Numbers in the header of a RAW or FLT, and whether they contradict each other."""

from __future__ import annotations

import math
from typing import Any

from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE
from sbcdark.pipeline.frames.untrusted_fits import UnsoundError, card_value

_FULL_FRAME = {
    "BINAXIS1": 1,
    "BINAXIS2": 1,
    "SIZAXIS1": DETECTOR_SHAPE[1],
    "SIZAXIS2": DETECTOR_SHAPE[0],
    "LTV1": 0,
    "LTV2": 0,
    "LTM1_1": 1,
    "LTM2_2": 1,
    "LTM1_2": 0,
    "LTM2_1": 0,
}
"""Cards of the SCI header by which pixel (x, y) of the array is pixel (x, y) of the detector."""

_CLOSE = 1e-6
"""Pixels, and their ratios: what a copy in single precision may differ by."""

_ROUNDING_S = 1.0
"""EXPEND - EXPSTART is 0.64 to 0.67 s longer than EXPTIME in the darks of program 13961."""

_ROUNDING = 0.01
"""Share of the exposure time: the accuracy of the flats, below which a rate cannot be known."""


def number_of(header: Any, keyword: str, unit: str, *, above: float, below: float) -> float:
    """Return a number that a header must have.

    Raises
    ------
    UnsoundError
        It is missing, not a number or outside the limits.
    """
    value = card_value(header, keyword)
    if value is None or isinstance(value, str | bool) or not isinstance(value, int | float):
        raise UnsoundError(f"{keyword} is missing" if value is None else f"{keyword} is not a number")
    if not math.isfinite(value) or not above < value < below:
        limits = f"{above:g}{'-' if above >= 0 else ' to '}{below:g} {unit}"
        raise UnsoundError(f"{keyword} = {value:.6g} {unit} is outside {limits}")
    return float(value)


def optional_number(header: Any, keyword: str, *, above: float, below: float) -> float | None:
    """Return a number of a header; None if it is missing, not a number or outside the limits."""
    value = card_value(header, keyword)
    if isinstance(value, bool) or not isinstance(value, int | float) or not above < value < below:
        return None
    return float(value)


def require_full_frame(header: Any) -> None:
    """Refuse an SCI header that says that its pixels are binned, or shifted on the detector.

    The SBC reads out all pixels, unbinned: such a frame does not fit the darks, whatever its size.

    Raises
    ------
    UnsoundError
    """
    for keyword, expected in _FULL_FRAME.items():
        value = card_value(header, keyword)
        if isinstance(value, int | float) and not isinstance(value, bool) and not abs(value - expected) <= _CLOSE:
            raise UnsoundError(f"{keyword} of SCI is {value:g}, not {expected}: not the pixels of a full SBC frame")


def doubtful_times(primary: Any, start_mjd: float, exptime_s: float, exposure_flag: str | None) -> tuple[str, ...]:
    """Return how the exposure time of a primary header contradicts its other times: every rate depends on it.

    An exposure cannot be longer than the time from its start to its end. It may be shorter if EXPFLAG says that it was
    interrupted.

    Parameters
    ----------
    start_mjd, exptime_s : float
        EXPSTART and EXPTIME.
    exposure_flag : str or None
        EXPFLAG.
    """
    end = optional_number(primary, "EXPEND", above=1.0, below=1e6)
    total = optional_number(primary, "TEXPTIME", above=0.0, below=1e9)
    spans = [] if end is None else [("EXPEND - EXPSTART", (end - start_mjd) * 86400.0)]
    spans += [] if total is None else [("TEXPTIME", total)]
    doubts = []
    for name, span in spans:
        longer = exptime_s - span
        interrupted = name != "TEXPTIME" and exposure_flag not in {None, "NORMAL"}
        if longer > (allowed := _ROUNDING_S + _ROUNDING * exptime_s) or (-longer > allowed and not interrupted):
            doubts.append(f"EXPTIME, which gives the rates, differs from {name}; compare them in the header")
    return tuple(doubts)

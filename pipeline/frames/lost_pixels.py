"""Pixels that were lost on the way to the ground, by the DQ array of a RAW or FLT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.catalog.text import number
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from astropy.io.fits import HDUList
    from numpy.typing import NDArray

LOST_DQ = 1 | 2
"""DQ bits of pixels that hold no counts: decoding error, and data replaced by a fill value."""


def lost_pixels(hdus: HDUList, rows: Iterable[slice] | None = None) -> NDArray[np.bool_] | None:
    """Return which pixels of a RAW or FLT were lost; None if none was, which is usual.

    Their counts are a fill value, as a rule 0, which a sum would take for a darker detector.

    Parameters
    ----------
    hdus : HDUList
        The file.
    rows : iterable of slice, optional
        The only rows to look at, for a file of which little is read.

    Returns
    -------
    ndarray of bool, shape (1024, 1024), or None
    """
    if ("DQ", 1) not in hdus:
        return None
    hdu: Any = hdus["DQ", 1]
    # The null array of a RAW says that nothing was lost.
    if getattr(hdu, "shape", None) != DETECTOR_SHAPE or hdu.header["BITPIX"] not in {8, 16, 32}:
        return None
    lost = np.zeros(DETECTOR_SHAPE, dtype=bool)
    for part in [slice(None)] if rows is None else rows:
        lost[part] = np.asarray(hdu.section[part]).astype(np.int64) & LOST_DQ != 0
    return lost if lost.any() else None


def why_not_whole(counts: NDArray[np.generic], lost: NDArray[np.bool_] | None) -> str | None:
    """Return what a dark lacks, since templates are made of whole frames; None if it is whole.

    Parameters
    ----------
    counts : ndarray, shape (1024, 1024)
    lost : ndarray of bool, shape (1024, 1024), or None
        As returned by `lost_pixels`.
    """
    if lost is not None:
        return f"lacks {number(int(lost.sum()), 'pixel')}, lost in transmission (DQ 1 or 2)"
    blank = 0 if counts.dtype.kind != "f" else int(np.count_nonzero(~np.isfinite(counts)))
    return f"has {number(blank, 'pixel')} without a finite value" if blank else None

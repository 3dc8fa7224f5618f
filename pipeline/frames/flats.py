"""Flats: where the flat of a frame is, and its pixels."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.catalog.errors import BadFileError
from sbcdark.catalog.records import is_divided
from sbcdark.pipeline.frames.pixels import full_frame
from sbcdark.pipeline.frames.untrusted_fits import card_value, clean, file_sha256, opened

if TYPE_CHECKING:
    from numpy.typing import NDArray

_REFERENCE = re.compile(r"jref\$([A-Za-z0-9_]{1,40}\.fits)")


@dataclass(frozen=True, slots=True)
class Flat:
    """The flat that divided a frame.

    Attributes
    ----------
    path : Path
        Path of the flat.
    sha256 : str
        sha256 of the file.
    pixels : ndarray of float64, shape (1024, 1024)
        About 1; NaN where it has no value.
    filter : str or None
        FILTER1 of its header.
    """

    path: Path
    sha256: str
    pixels: NDArray[np.float64]
    filter: str | None = None


def find_flat(name: str | None, given: Path | None) -> Path | None:
    """Return the path of a science frame's own flat, or None.

    Parameters
    ----------
    name : str or None
        PFLTFILE of the header, e.g. ``jref$x1234567j_pfl.fits``. Header text is untrusted: anything but a plain file
        name is ignored, and so are several names (joined by `` x ``), whose product only a given file can be.
    given : Path or None
        A flat, or a folder of flats, given by the user; by default the folder of the environment variable `jref`.
    """
    if given is not None and given.is_file():
        return given
    found = _REFERENCE.fullmatch(name or "")
    folder = given or (Path(os.environ["jref"]) if os.environ.get("jref") else None)  # noqa: SIM112  STScI's name
    if found is None or folder is None:
        return None
    for candidate in (folder / found.group(1), folder / f"{found.group(1)}.gz"):
        if candidate.is_file():
            return candidate
    return None


def flat_has_come(divided_by: str | None, given: Path | None) -> bool:
    """Whether the flat of an FLT that was measured without it is at hand now, see `records.KnownFile.divided_by`."""
    return divided_by is not None and find_flat(divided_by, given) is not None


FLATS_URL = "https://hst-crds.stsci.edu/unchecked_get/references/hst"
"""Where CRDS keeps the reference files of HST."""


def missing_flat(name: str | None) -> str:
    """Return the warning about a flat that is not found: what follows, and where to get it.

    Parameters
    ----------
    name : str or None
        PFLTFILE of the header.
    """
    if " x " in (name or ""):
        return (
            f"the FLT was divided by {name}, of which no file is the product, so the dark is not divided by a flat; "
            "multiply them, and give the result with --flat FILE"
        )
    found = _REFERENCE.fullmatch(name or "")
    if found is None:
        return "PFLTFILE names no flat, so the dark is not divided by one; give it with --flat FILE"
    return (
        f"the flat ({name}) is not found, so the dark is not divided by it; get {FLATS_URL}/{found.group(1)} (or run "
        "crds bestrefs --files FLT --sync-references=1), then give --flat FOLDER or set jref"
    )


def another_flat(flat: Flat, name: str | None, filter_name: str | None) -> str | None:
    """Return the warning about a flat that is not the one that divided a frame; None if it is, or if that is unknown.

    Parameters
    ----------
    flat : Flat
        A flat that the user gave.
    name, filter_name : str or None
        PFLTFILE and FILTER1 of the frame's header.
    """
    found = _REFERENCE.fullmatch(name or "")
    given = flat.path.name.removesuffix(".gz")
    if found is None or given == found.group(1):
        return None
    which = "" if flat.filter in {None, filter_name} else f", a flat for {flat.filter}"
    return (
        f"the FLT was divided by {found.group(1)}, but --flat is {given}{which}: the dark gets another shape; give the "
        "flat of PFLTFILE, or a folder that holds it"
    )


def read_flat(path: Path) -> Flat:
    """Return a flat; a file is read once while it stays the same.

    Raises
    ------
    BadFileError
        The file is missing, broken, or not a flat of a full SBC frame: the HRC's have as many pixels.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise BadFileError(f"{path} cannot be read: {error.strerror}.", "Give the right flat with --flat.") from error
    return _read_flat(path, status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=2)
def _read_flat(path: Path, _size: int, _mtime_ns: int) -> Flat:
    """Return a flat; the exposures of a filter share it, and one takes 8 MB."""
    with opened(path) as hdus:
        flat = full_frame(hdus, path).astype(np.float64)
        detector, filter_name = (card_value(hdus[0].header, keyword) for keyword in ("DETECTOR", "FILTER1"))
    if isinstance(detector, str) and clean(detector) != "SBC":
        raise BadFileError(f"{path} is a flat of the {clean(detector)[:20]}, not of the SBC.", "Give the right one.")
    valid = np.isfinite(flat) & (flat > 0)
    if not valid.any():
        raise BadFileError(f"{path} is not a flat: no pixel is above 0.", "Give the right one with --flat.")
    known = (clean(filter_name)[:20] or None) if isinstance(filter_name, str) else None
    return Flat(path, file_sha256(path), np.where(valid, flat, np.nan), known)


def flat_at_hand(flat_correction: str | None, name: str | None, given: Path | None) -> Flat | None:
    """Return the flat that calacs divided a frame by, if it is found and readable.

    Parameters
    ----------
    flat_correction, name : str or None
        FLATCORR and PFLTFILE of the header.
    given : Path or None
        A flat, or a folder of flats, see `find_flat`.
    """
    path = find_flat(name, given) if is_divided(flat_correction) else None
    if path is None:
        return None
    try:
        return read_flat(path)
    except BadFileError:
        return None  # an ingest does not need it; the commands that do say what is wrong with it

"""The only reader of FITS files: what an ingest needs of a file, in one open, and the pixels of a frame later.

Files are not trusted: what cannot be a sound SBC RAW, FLT or ASN is refused with a reason, in bounded memory.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import re
import stat
import warnings
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import unquote, urlsplit

import numpy as np

from sbcdark.catalog.errors import BadFileError
from sbcdark.catalog.records import AssociationFacts, ExposureFacts, FileReading, Refusal
from sbcdark.pipeline.rates import measure_regions, unwrapped_counts
from sbcdark.pipeline.regions import DETECTOR_SHAPE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astropy.io.fits import HDUList
    from numpy.typing import NDArray

    from sbcdark.catalog.records import RegionMeasurement

LARGEST_FILE = 64 * 2**20
"""Bytes; an FLT with all its extensions is 10.5 MB. More is refused, packed or unpacked."""

_NAME = re.compile(r"_(raw|flt|asn)\.fits(\.gz)?$")
_ROOTNAME = re.compile(r"[a-z][a-z0-9]{8}")
_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)


class _NotOursError(Exception):
    """The file is sound, or may be, but is none that the catalog keeps."""


class _UnsoundError(Exception):
    """The file claims to be one of ours and cannot be trusted."""


def product_kind(name: str) -> str | None:
    """Return RAW, FLT or ASN from a file's name; None for what the catalog does not keep by its name."""
    lowered = name.lower()
    found = _NAME.search(lowered)
    if found is None or lowered.startswith("hst_"):
        return None
    return found.group(1).upper()


def why_ignored(name: str) -> str:
    """Return why a file is left alone for its name alone."""
    if name.lower().startswith("hst_") and ".fits" in name.lower():
        return "a HAP duplicate"
    return "no RAW, FLT or ASN by its name"


def read_file(path: Path, *, checksum: bool = True) -> FileReading | Refusal:
    """Read headers and regions of one file in a single open.

    Parameters
    ----------
    path : Path
        A RAW, FLT or ASN, plain or gzipped.
    checksum : bool
        Whether the sha256 of the file as it lies on disk is taken from the bytes that are read anyway.

    Returns
    -------
    FileReading or Refusal
        A refusal has a reason in words; nothing is raised for a bad file.
    """
    uri = path.as_uri()
    size = mtime = 0
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            size, mtime = status.st_size, status.st_mtime_ns
            content = _bounded(file, size)
        digest = hashlib.sha256(content).hexdigest() if checksum else None
        kind = _kind_of_ours(path.name)
        exposure, association = _parse(_unpacked(content), kind)
    except _NotOursError as error:
        return Refusal(uri, str(error), ignored=True, size_byte=size, mtime_ns=mtime)
    except _UnsoundError as error:
        return Refusal(uri, str(error), ignored=False, size_byte=size, mtime_ns=mtime)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return Refusal(uri, f"cannot be read: {reason}", ignored=False, size_byte=size, mtime_ns=mtime)
    return FileReading(uri, kind, size, mtime, digest, exposure, association)


def _bounded(file: BinaryIO, size: int) -> bytes:
    if size > LARGEST_FILE:
        raise _UnsoundError(f"{size} bytes, where an SBC file has at most {LARGEST_FILE}")
    # The file may grow while it is read.
    return file.read(LARGEST_FILE + 1)


def _kind_of_ours(name: str) -> str:
    kind = product_kind(name)
    if kind is None:
        raise _NotOursError(why_ignored(name))
    return kind


def is_regular(path: Path) -> bool:
    """Tell whether a path leads to a regular file: a FIFO or a device would block or never end."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _unpacked(content: bytes) -> bytes:
    if content[:2] != b"\x1f\x8b":
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as packed:
            unpacked = packed.read(LARGEST_FILE + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise _UnsoundError(f"its gzip stream is broken: {error}") from error
    if len(unpacked) > LARGEST_FILE:
        raise _UnsoundError(f"it unpacks to more than {LARGEST_FILE} bytes")
    return unpacked


@contextmanager
def _opened(content: bytes) -> Iterator[HDUList]:
    """Open FITS content; whatever astropy says against it becomes one reason."""
    from astropy.io import fits  # noqa: PLC0415  the commands that read no file need not wait for it
    from astropy.io.fits.verify import VerifyError  # noqa: PLC0415
    from astropy.utils.exceptions import AstropyUserWarning  # noqa: PLC0415

    if not content.startswith(b"SIMPLE  ="):
        raise _UnsoundError("no FITS file (it does not begin with SIMPLE)")
    try:
        with warnings.catch_warnings():
            # "File may have been truncated" is a warning to astropy and a reason to us; other remarks on style
            # (a card that could be written better) are none.
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*truncated.*", category=AstropyUserWarning)
            warnings.filterwarnings("error", message=".*Error validating header.*", category=AstropyUserWarning)
            with fits.open(io.BytesIO(content), memmap=False) as hdus:
                yield hdus
    except (_NotOursError, _UnsoundError):
        raise
    except (
        OSError,
        EOFError,
        VerifyError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        AttributeError,
        MemoryError,
        OverflowError,
        AstropyUserWarning,
    ) as error:
        reason = " ".join(str(error).split())[:200]
        raise _UnsoundError(f"its FITS structure is broken: {_clean(reason)}") from error


def _parse(content: bytes, kind: str) -> tuple[ExposureFacts | None, AssociationFacts | None]:
    with _opened(content) as hdus:
        primary = hdus[0].header
        _require_sbc(primary)
        extensions = len(hdus) - 1
        announced = primary.get("NEXTEND", 0)
        if isinstance(announced, int) and extensions < announced:
            raise _UnsoundError(f"truncated: {extensions} of {announced} extensions are there")
        if kind == "ASN":
            return None, _association(hdus)
        return _exposure(hdus), None


def _require_sbc(primary: Any) -> None:
    instrument, detector = _text(primary, "INSTRUME"), _text(primary, "DETECTOR")
    if instrument is None:
        raise _UnsoundError("INSTRUME is missing")
    if instrument != "ACS":
        raise _NotOursError(f"another instrument: {instrument}")
    if detector is None:
        raise _UnsoundError("DETECTOR is missing")
    if detector != "SBC":
        raise _NotOursError(f"another detector: {detector}")


def _exposure(hdus: HDUList) -> ExposureFacts:
    primary = hdus[0].header
    image_type = _text(primary, "IMAGETYP") or ""
    observation = _text(primary, "OBSTYPE") or ""
    if image_type == "DARK":
        exposure_kind = "dark"
    elif observation == "INTERNAL":
        raise _NotOursError(f"an internal exposure that is no dark: {image_type or 'no IMAGETYP'}")
    else:
        exposure_kind = "science"
    mode = _text(primary, "OBSMODE")
    if mode not in {None, "ACCUM"}:
        raise _NotOursError(f"not an ACCUM exposure: {mode}")
    if len(hdus) < 2:
        raise _UnsoundError("truncated: it has no SCI extension")
    science = hdus[1]
    header = science.header
    if _text(header, "EXTNAME") != "SCI":
        raise _UnsoundError("its first extension is no SCI")
    shape = (header.get("NAXIS2"), header.get("NAXIS1"))
    if shape != DETECTOR_SHAPE:
        raise _UnsoundError(f"SCI is {shape[1]} x {shape[0]} pixels, not 1024 x 1024")
    data = science.data
    if data is None or data.shape != DETECTOR_SHAPE:
        raise _UnsoundError("SCI has no 1024 x 1024 pixels")
    exptime = _number(primary, "EXPTIME", "s", above=0.0, below=20_000.0)
    start = _number(primary, "EXPSTART", "MJD", above=52_000.0, below=80_000.0)
    return ExposureFacts(
        rootname=_rootname(primary),
        kind=exposure_kind,
        program=_program(primary),
        target=_text(primary, "TARGNAME"),
        filter=_text(primary, "FILTER1"),
        association=_association_name(primary),
        start_utc=_MJD_EPOCH + timedelta(days=start),
        start_mjd=start,
        exptime_s=exptime,
        temperature_start_c=_number(header, "MDECODT1", "C", above=-50.0, below=100.0),
        temperature_end_c=_number(header, "MDECODT2", "C", above=-50.0, below=100.0),
        exposure_flag=_text(primary, "EXPFLAG"),
        processed_mjd=_optional(primary, "PROCTIME"),
        calibration_version=_text(primary, "CAL_VER"),
        dark_correction=_text(primary, "DARKCORR"),
        mean_dark_count=_optional(header, "MEANDARK"),
        flat_file=_text(primary, "PFLTFILE"),
        photflam_erg_s_cm2_a=_positive(header, "PHOTFLAM"),
        photplam_a=_positive(header, "PHOTPLAM"),
        measurements=_measured(data, exptime),
    )


def _measured(data: NDArray[np.generic], exptime: float) -> tuple[RegionMeasurement, ...]:
    counts = unwrapped_counts(data)
    if counts.dtype.kind == "f":
        if not np.isfinite(counts).any():
            raise _UnsoundError("SCI holds no number")
    elif counts.dtype.kind != "u":
        raise _UnsoundError(f"SCI has BITPIX {counts.dtype.itemsize * 8}, where 16 and -32 are known")
    return measure_regions(counts, exptime)


def _association(hdus: HDUList) -> AssociationFacts:
    primary = hdus[0].header
    if len(hdus) < 2 or hdus[1].data is None or "MEMNAME" not in hdus[1].columns.names:
        raise _UnsoundError("it has no table of members")
    table = hdus[1].data
    if len(table) > 1000:
        raise _UnsoundError(f"it names {len(table)} members")
    members = []
    for row in table:
        name, member_type = _clean(str(row["MEMNAME"])).lower(), _clean(str(row["MEMTYPE"])).upper()
        if not _ROOTNAME.fullmatch(name):
            raise _UnsoundError("a MEMNAME is no root name")
        members.append((name, member_type[:20]))
    return AssociationFacts(_rootname(primary), _program(primary), _text(primary, "TARGNAME"), tuple(members))


def _clean(text: str) -> str:
    """Strip blanks and everything that could act on a terminal."""
    return "".join(letter for letter in text if letter.isprintable()).strip()


def _text(header: Any, keyword: str) -> str | None:
    value = header.get(keyword)
    if not isinstance(value, str):
        return None
    return _clean(value)[:80] or None


def _rootname(header: Any) -> str:
    value = header.get("ROOTNAME")
    name = value.strip().lower() if isinstance(value, str) else ""
    if not _ROOTNAME.fullmatch(name):
        raise _UnsoundError("ROOTNAME is missing or no IPPPSSOOT")
    return name


def _program(header: Any) -> int | None:
    value = header.get("PROPOSID")
    return value if isinstance(value, int) and 0 < value < 1_000_000 else None


def _association_name(header: Any) -> str | None:
    name = (_text(header, "ASN_ID") or "").lower()
    return name if _ROOTNAME.fullmatch(name) and name != "none" else None


def _number(header: Any, keyword: str, unit: str, *, above: float, below: float) -> float:
    value = header.get(keyword)
    if value is None or isinstance(value, str | bool) or not isinstance(value, int | float):
        raise _UnsoundError(f"{keyword} is missing" if value is None else f"{keyword} is no number")
    if not math.isfinite(value) or not above < value < below:
        raise _UnsoundError(f"{keyword} is {value:.6g} {unit}, which cannot be")
    return float(value)


def _optional(header: Any, keyword: str) -> float | None:
    value = header.get(keyword)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _positive(header: Any, keyword: str) -> float | None:
    value = _optional(header, keyword)
    return value if value is not None and value > 0 else None


@dataclass(frozen=True, slots=True)
class Frame:
    """The pixels of one RAW or FLT.

    Attributes
    ----------
    science : ndarray, shape (1024, 1024)
        Counts: uint16 in a RAW, float32 flat-fielded counts in an FLT.
    data_quality : ndarray of int16, shape (1024, 1024), or None
        None where the file holds a null array.
    """

    science: NDArray[np.generic]
    data_quality: NDArray[np.int16] | None


def local_path(uri: str) -> Path:
    """Return the path of a `file:` URI.

    Raises
    ------
    BadFileError
        It is another kind of URI.
    """
    parts = urlsplit(uri)
    if parts.scheme != "file":
        raise BadFileError(f"{uri} is not on this machine.", "Ingest a local copy.")
    return Path(unquote(parts.path))


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return _unpacked(_bounded(file, os.fstat(file.fileno()).st_size))
    except OSError as error:
        reason = error.strerror or str(error)
        raise BadFileError(
            f"{path} cannot be read: {reason}.", "Bring it back, or ingest the folder where it is now."
        ) from error
    except _UnsoundError as error:
        raise BadFileError(f"{path} cannot be trusted: {error}.", "Get the file again and ingest it.") from error


@contextmanager
def opened(path: Path) -> Iterator[HDUList]:
    """Open a FITS file, plain or gzipped, from memory.

    Raises
    ------
    BadFileError
        It is gone or broken.
    """
    content = _content(path)
    try:
        with _opened(content) as hdus:
            yield hdus
    except _UnsoundError as error:
        raise BadFileError(f"{path} cannot be trusted: {error}.", "Get the file again and ingest it.") from error


def read_frame(path: Path) -> Frame:
    """Return the pixels of a RAW or FLT, counts unwrapped.

    Raises
    ------
    BadFileError
        The file is gone or broken.
    """
    with opened(path) as hdus:
        science = hdus[1].data
        if science is None or science.shape != DETECTOR_SHAPE:
            raise _UnsoundError("SCI has no 1024 x 1024 pixels")
        quality = hdus["DQ", 1].data if ("DQ", 1) in hdus else None
        counts = unwrapped_counts(science)
        return Frame(
            counts.astype(counts.dtype.newbyteorder("=")), None if quality is None else quality.astype(np.int16)
        )

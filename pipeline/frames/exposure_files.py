"""Reading of RAW, FLT and ASN files for an ingest: header facts and region measurements in one open.

Files are untrusted: a bad SBC RAW, FLT or ASN is refused with a reason, in bounded memory.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from typing import TYPE_CHECKING, Any

import numpy as np

from sbcdark.catalog.records import AssociationFacts, ExposureFacts, FileReading, Refusal
from sbcdark.catalog.roots import uri_of
from sbcdark.catalog.text import number
from sbcdark.catalog.times import utc_of_mjd
from sbcdark.pipeline.detector.constants import is_prism
from sbcdark.pipeline.detector.rates import Frame, count_hot_pixels, unwrapped_counts
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE, REGIONS
from sbcdark.pipeline.frames.flats import flat_at_hand
from sbcdark.pipeline.frames.flt_checks import why_unfit
from sbcdark.pipeline.frames.frame_counts import LARGEST_PIXEL, doubtful_pixel, measured_regions
from sbcdark.pipeline.frames.header_checks import (
    doubtful_times,
    number_of,
    optional_number,
    require_full_frame,
)
from sbcdark.pipeline.frames.lost_pixels import lost_pixels, why_not_whole
from sbcdark.pipeline.frames.plain_headers import NotPlainError, plain_headers
from sbcdark.pipeline.frames.untrusted_fits import (
    NotOursError,
    UnsoundError,
    bounded,
    card_value,
    clean,
    modified_ns,
    open_content,
    open_regular,
    reasons,
    require_promised,
    require_unchanged,
    structure_of,
    unpacked,
)

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from astropy.io.fits import HDUList
    from numpy.typing import NDArray

    from sbcdark.pipeline.detector.regions import Region
    from sbcdark.pipeline.frames.fits_structure import Part

_NAME = re.compile(r"_(raw|flt|asn)\.fits(\.gz|\.bz2|\.xz)?\Z")
_OTHER_PACKING = re.compile(r"_(raw|flt|asn)\.(fits?\.)?(fz|z|zip|zst|7z|lzma|lz4|tar|tar\.gz|tgz)\Z")
_ROOTNAME = re.compile(r"[a-z][a-z0-9]{8}")
_PROGRAM = re.compile(r"[0-9]{1,6}")
_SHORT_TEXT = re.compile(r"[0-9]{0,2}A")

_MOST_MEMBERS = 1000


def product_kind(name: str) -> str | None:
    """Return RAW, FLT or ASN from a file name; None for other files."""
    lowered = name.lower()
    found = _NAME.search(lowered)
    if found is None or lowered.startswith("hst_"):
        return None
    return found.group(1).upper()


def why_ignored(name: str) -> str:
    """Return why a file is ignored because of its name."""
    if name.lower().startswith("hst_") and ".fits" in name.lower():
        return "a HAP duplicate"
    if (packed := _OTHER_PACKING.search(name.lower())) is not None:
        todo = "unpack it with funpack" if packed[3] == "fz" else "unpack it"
        return f"compressed as .{packed[3]}, which is not supported: {todo}, then ingest it"
    return "not a RAW, FLT or ASN file name"


def read_file(path: Path, *, checksum: bool = True, flat: Path | None = None) -> FileReading | Refusal:
    """Read headers and regions of one file in a single open.

    Parameters
    ----------
    path : Path
        A RAW, FLT or ASN, plain or compressed.
    checksum : bool
        Whether to compute the sha256 of the file on disk from the bytes read.
    flat : Path or None
        A flat, or a folder of flats, see `flats.find_flat`.

    Returns
    -------
    FileReading or Refusal
        A refusal gives a reason; bad files raise nothing.
    """
    uri = uri_of(path.absolute())
    size = mtime = 0
    try:
        with open_regular(path) as file:
            status = os.fstat(file.fileno())
            size, mtime = status.st_size, modified_ns(status)
            content = bounded(file, size)
            require_unchanged(file, status)
        digest = hashlib.sha256(content).hexdigest() if checksum else None
        kind = kind_of_ours(path.name)
        exposure, association = parse(unpacked(content), kind, flat=flat)
    except NotOursError as error:
        return Refusal(uri, str(error), ignored=True, size_byte=size, mtime_ns=mtime)
    except UnsoundError as error:
        return Refusal(uri, str(error), ignored=False, size_byte=size, mtime_ns=mtime)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return Refusal(uri, f"cannot be read: {reason}", ignored=False, size_byte=size, mtime_ns=mtime)
    except MemoryError:
        return Refusal(uri, "not enough memory to read it", ignored=False, size_byte=size, mtime_ns=mtime)
    return FileReading(uri, kind, size, mtime, digest, exposure, association)


def kind_of_ours(name: str) -> str:
    """Return RAW, FLT or ASN from a file name.

    Raises
    ------
    NotOursError
        The name is not that of a RAW, FLT or ASN.
    """
    kind = product_kind(name)
    if kind is None:
        raise NotOursError(why_ignored(name))
    return kind


def is_regular(path: Path) -> bool:
    """Return whether a path is a regular file: a FIFO or a device would block or never end."""
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def parse(
    content: bytes | io.RawIOBase, kind: str, regions: Sequence[Region] | None = None, flat: Path | None = None
) -> tuple[ExposureFacts | None, AssociationFacts | None]:
    """Return the facts of the exposure in a RAW or FLT, or of the association in an ASN; the other is None.

    Parameters
    ----------
    content : bytes or binary file
        An uncompressed FITS file.
    kind : str
        RAW, FLT or ASN.
    regions : sequence of Region, optional
        Regions to measure; only their rows of pixels are read. By default all regions.
    flat : Path or None
        A flat, or a folder of flats. If the flat of an FLT is found, its regions are measured on FLT x flat, which are
        counts of the detector like those of a RAW dark.

    Raises
    ------
    NotOursError
        The file is not an SBC exposure or association.
    UnsoundError
        The file is bad.
    """
    if kind == "RAW" and regions is None and isinstance(content, bytes) and (plain := _plain_exposure(content)):
        return plain, None
    with open_content(content) as hdus, reasons():
        _require_sbc(hdus[0].header)
        _require_not_made_here(hdus[0].header)
        if kind == "ASN":
            return None, _association(hdus)
        science: Any = hdus[1] if len(hdus) > 1 else None
        rows = None if regions is None else [slice(one.y0, one.y1) for one in regions]
        exposure = _exposure(
            hdus[0].header,
            None if science is None else science.header,
            lambda: science.data if regions is None else _rows(science, regions),
            regions,
            flat,
            lost_pixels(hdus, rows),
        )
        if kind == "FLT" and not is_prism(exposure.filter) and (unfit := why_unfit(hdus)) is not None:
            raise UnsoundError(unfit)
        return exposure, None


def _plain_exposure(content: bytes) -> ExposureFacts | None:
    """Return the facts of a RAW whose headers and pixels are as calacs writes them; None for one left to astropy."""
    parts = structure_of(content)
    try:
        headers = plain_headers(content, parts)
        require_promised(len(headers) - 1, headers[0].get("NEXTEND"))
        _require_sbc(headers[0])
        header = headers[1] if len(headers) > 1 else None
        if any(part.sizes["NAXIS"] for part in parts[2:]):
            return None  # pixels were lost, or the file is another's: what is usual are null arrays
        return _exposure(headers[0], header, lambda: _plain_pixels(content, parts[1], header), None, None)
    except NotPlainError:
        return None


def _plain_pixels(content: bytes, part: Part, header: Any) -> NDArray[np.generic]:
    scaled = any(keyword in header for keyword in ("BSCALE", "BZERO", "BLANK"))
    if scaled or (part.sizes["BITPIX"], part.sizes["NAXIS"]) != (16, 2):
        raise NotPlainError
    return np.frombuffer(content, ">i2", DETECTOR_SHAPE[0] * DETECTOR_SHAPE[1], part.data).reshape(DETECTOR_SHAPE)


def _require_sbc(primary: Any) -> None:
    instrument, detector = _text(primary, "INSTRUME"), _text(primary, "DETECTOR")
    if instrument is None:
        raise UnsoundError("INSTRUME is missing")
    if instrument != "ACS":
        raise NotOursError(f"another instrument: {instrument}")
    if detector is None:
        raise UnsoundError("DETECTOR is missing")
    if detector != "SBC":
        raise NotOursError(f"another detector: {detector}")


def _require_not_made_here(primary: Any) -> None:
    """Leave out the FLTs of `sbcdark subtract`: one more dark would be subtracted from them."""
    if _text(primary, "DARKCORR") == "COMPLETE" and card_value(primary, "DRKVERS") is not None:
        raise NotOursError("made by sbcdark subtract: its dark is already subtracted")


def _exposure(
    primary: Any,
    header: Any,
    read_pixels: Callable[[], Any],
    regions: Sequence[Region] | None,
    given_flat: Path | None,
    lost: NDArray[np.bool_] | None = None,
) -> ExposureFacts:
    """Return the facts in the primary header, the header of the first extension (None without one) and its pixels.

    Pixels that were lost are excluded from the measurements of a science exposure; a dark without them is rejected.
    """
    image_type = _text(primary, "IMAGETYP") or ""
    observation = _text(primary, "OBSTYPE") or ""
    if image_type == "DARK":
        exposure_kind = "dark"
    elif observation == "INTERNAL":
        raise NotOursError(f"internal exposure, not a dark: {image_type or 'IMAGETYP is missing'}")
    else:
        exposure_kind = "science"
    mode = _text(primary, "OBSMODE")
    if mode not in {None, "ACCUM"}:
        raise NotOursError(f"not an ACCUM exposure: {mode}")
    data = _required_pixels(header, read_pixels)
    if exposure_kind == "dark" and (lacks := why_not_whole(data, lost)) is not None:
        raise UnsoundError(f"the dark {lacks}")
    # The shortest SBC exposure is 0.1 s; a time near zero would give arbitrary rates.
    exptime = number_of(primary, "EXPTIME", "s", above=0.01, below=20_000.0)
    start = number_of(primary, "EXPSTART", "MJD", above=52_000.0, below=80_000.0)
    flag = _text(primary, "EXPFLAG")
    mean_dark = optional_number(header, "MEANDARK", above=-LARGEST_PIXEL, below=LARGEST_PIXEL)
    subtracted = _text(primary, "DARKCORR") == "COMPLETE" or (mean_dark or 0.0) > 0
    if subtracted and exposure_kind == "dark":
        raise UnsoundError("a dark was subtracted from this dark (DARKCORR, MEANDARK)")
    flat = None
    if exposure_kind == "science" and data.dtype.kind == "f":
        flat = flat_at_hand(_text(primary, "FLATCORR"), _flats(primary), given_flat)
    counts = unwrapped_counts(data) if flat is None else np.asarray(data, np.float64) * flat.pixels
    frame = Frame(counts if lost is None else np.where(lost, np.nan, counts))
    return ExposureFacts(
        rootname=_rootname(primary),
        kind=exposure_kind,
        program=_program(primary),
        target=_text(primary, "TARGNAME"),
        filter=_text(primary, "FILTER1"),
        association=_association_name(primary),
        start_utc=utc_of_mjd(start),
        start_mjd=start,
        exptime_s=exptime,
        temperature_start_c=number_of(header, "MDECODT1", "C", above=-50.0, below=100.0),
        temperature_end_c=number_of(header, "MDECODT2", "C", above=-50.0, below=100.0),
        exposure_flag=flag,
        processed_mjd=optional_number(primary, "PROCTIME", above=0.0, below=100_000.0),
        calibration_version=_text(primary, "CAL_VER"),
        dark_correction=_text(primary, "DARKCORR"),
        mean_dark_count=mean_dark,
        flat_correction=_text(primary, "FLATCORR"),
        flat_file=_flats(primary),
        multiplied_by=None if flat is None else flat.path.name,
        photflam_erg_s_cm2_a=optional_number(header, "PHOTFLAM", above=0.0, below=1.0),
        photplam_a=optional_number(header, "PHOTPLAM", above=0.0, below=1e6),
        measurements=measured_regions(frame, exptime, REGIONS if regions is None else regions, subtracted=subtracted),
        observation_quality=_text(primary, "QUALITY"),
        guide_star_lock=_text(primary, "FGSLOCK"),
        doubts=(*doubtful_times(primary, start, exptime, flag), *doubtful_pixel(frame, exptime)),
        # Cores of sources look like hot pixels, and a frame read in part lacks the other pixels.
        hot_pixels=count_hot_pixels(frame) if exposure_kind == "dark" and regions is None else None,
    )


def _required_pixels(header: Any, read_pixels: Callable[[], Any]) -> Any:
    """Return the pixels of the first extension, which must be the counts of a full frame."""
    if header is None:
        raise UnsoundError("truncated: SCI extension is missing")
    if "ZIMAGE" in header:
        raise UnsoundError("tile-compressed, which is not supported: unpack it with funpack, then ingest it")
    if _text(header, "EXTNAME") != "SCI":
        raise UnsoundError("first extension is not SCI")
    shape = (header.get("NAXIS2"), header.get("NAXIS1"))
    if shape != DETECTOR_SHAPE:
        raise UnsoundError(f"SCI is {shape[1]} x {shape[0]} pixels, not 1024 x 1024")
    require_full_frame(header)
    data = read_pixels()
    if data is None or data.shape != DETECTOR_SHAPE:
        raise UnsoundError("SCI does not have 1024 x 1024 pixels")
    unit = _text(header, "BUNIT")
    if (unit or "COUNTS").upper() not in {"COUNTS", "ELECTRONS"}:
        raise UnsoundError(f"BUNIT of SCI is {unit}, not COUNTS")
    return data


def _rows(science: Any, regions: Sequence[Region]) -> NDArray[np.generic] | None:
    """Return a full frame of which only the rows of the regions are read; the others are 0.

    The memory layout equals that of a frame read in full, so sums agree to the last bit.
    """
    frame: NDArray[np.generic] | None = None
    for region in regions:
        rows = slice(region.y0, region.y1)
        pixels = science.section[rows]
        if frame is None:
            frame = np.zeros(DETECTOR_SHAPE, dtype=pixels.dtype)
        frame[rows] = pixels
    return frame


def _association(hdus: HDUList) -> AssociationFacts:
    primary = hdus[0].header
    columns = hdus[1].columns.names if len(hdus) > 1 and hasattr(hdus[1], "columns") else ()
    if "MEMNAME" not in columns or "MEMTYPE" not in columns:
        raise UnsoundError("table of members is missing")
    # Fixed-width text only: every row of a variable-length column may claim the whole heap.
    if not all(_SHORT_TEXT.fullmatch(str(hdus[1].columns[name].format)) for name in ("MEMNAME", "MEMTYPE")):
        raise UnsoundError("MEMNAME or MEMTYPE is not a short text column")
    rows = hdus[1].header["NAXIS2"]
    if not 0 < rows <= _MOST_MEMBERS:
        raise UnsoundError(f"lists {number(rows, 'member')}")
    table = hdus[1].data
    if table is None:
        raise UnsoundError("table of members is missing")
    members: list[tuple[str, str]] = []
    for row in table:
        name, member_type = clean(str(row["MEMNAME"])).lower(), clean(str(row["MEMTYPE"])).upper()
        if not _ROOTNAME.fullmatch(name):
            raise UnsoundError("a MEMNAME is not a root name")
        if (name, member_type[:20]) in members:
            raise UnsoundError(f"lists {name} twice as {member_type[:20]}")
        members.append((name, member_type[:20]))
    return AssociationFacts(_rootname(primary), _program(primary), _text(primary, "TARGNAME"), tuple(members))


def _text(header: Any, keyword: str) -> str | None:
    value = card_value(header, keyword)
    if not isinstance(value, str):
        return None
    return clean(value[:1000])[:80] or None


def _flats(header: Any) -> str | None:
    """Return PFLTFILE, and with it the delta and low-order flats: calacs divides by the product of all that are set."""
    first, *more = (_text(header, keyword) for keyword in ("PFLTFILE", "DFLTFILE", "LFLTFILE"))
    named = [name for name in more if name is not None and name.upper() != "N/A"]
    return " x ".join([first or "N/A", *named]) if named else first


def _rootname(header: Any) -> str:
    value = card_value(header, "ROOTNAME")
    name = value.strip().lower() if isinstance(value, str) else ""
    if not _ROOTNAME.fullmatch(name):
        raise UnsoundError("ROOTNAME is missing or not an IPPPSSOOT")
    return name


def _program(header: Any) -> int | None:
    value = card_value(header, "PROPOSID")
    if isinstance(value, str) and _PROGRAM.fullmatch(value.strip()):
        value = int(value)
    known = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1_000_000
    return value if known else None


def _association_name(header: Any) -> str | None:
    name = (_text(header, "ASN_ID") or "").lower()
    return name if _ROOTNAME.fullmatch(name) and name != "none" else None

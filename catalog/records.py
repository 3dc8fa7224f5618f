"""Records that outlive a session: frozen, complete, with units in their names."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class ExposureRecord:
    """One exposure of a listing; the field names are the JSON keys."""

    rootname: str
    kind: str
    program: int | None
    filter: str | None
    start_utc: datetime
    start_mjd: float
    exptime_s: float
    temperature_start_c: float
    temperature_end_c: float
    temperature_mean_c: float
    box_count: float | None
    box_rate_count_s_pix: float | None
    box_rate_err_count_s_pix: float | None
    contrast_count_s_pix: float | None
    contrast_err_count_s_pix: float | None
    association: str | None
    quality: str
    quality_reason: str | None
    target: str | None
    quiet_rate_count_s_pix: float | None
    quiet_rate_err_count_s_pix: float | None
    hot_pixels: int | None


@dataclass(frozen=True, slots=True)
class MatchValues:
    """The values that a rule compares: one exposure's values and their errors."""

    rootname: str
    kind: str
    program: int | None
    filter: str | None
    target: str | None
    association: str | None
    start_mjd: float
    exptime_s: float
    temperature_mean_c: float
    box_count: float | None
    box_rate_count_s_pix: float | None
    box_rate_err_count_s_pix: float | None
    quiet_rate_count_s_pix: float | None
    quiet_rate_err_count_s_pix: float | None
    contrast_count_s_pix: float | None
    contrast_err_count_s_pix: float | None
    quality: str
    quality_reason: str | None
    exposure_flag: str | None
    file: FileRecord | None
    observation_quality: str | None = None
    guide_star_lock: str | None = None
    hot_pixels: int | None = None
    temperature_start_c: float | None = None
    temperature_end_c: float | None = None

    @property
    def read_temperature_c(self) -> float:
        """Mean temperature, deg C; NaN if it was not read: MDECODT1 and MDECODT2 are then 0.0."""
        return self.temperature_mean_c or math.nan

    @property
    def is_present(self) -> bool:
        """Whether the pixels can be read: the exposure has a file, which is not missing."""
        return self.file is not None and self.file.state == "present"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """The place of an exposure's RAW or FLT (or an association's ASN), and its calibration as its header states it."""

    id: int
    kind: str
    uri: str
    size_byte: int
    mtime_ns: int
    sha256: str | None
    state: str
    calibration_version: str | None = None
    dark_correction: str | None = None
    mean_dark_count: float | None = None
    flat_correction: str | None = None
    flat_file: str | None = None
    multiplied_by: str | None = None
    photflam_erg_s_cm2_a: float | None = None
    photplam_a: float | None = None
    etag: str | None = None
    processed_mjd: float | None = None

    @property
    def is_flat_fielded(self) -> bool:
        """Whether the measured counts are flat-fielded: those of an FLT that was not multiplied by its flat."""
        return flat_fielded(self.kind, self.flat_correction, self.multiplied_by)


def is_divided(flat_correction: str | None) -> bool:
    """Whether calacs divided an FLT by a flat (FLATCORR); if not, its counts are those of the detector."""
    return flat_correction in {None, "COMPLETE"}


def flat_fielded(kind: str, flat_correction: str | None, multiplied_by: str | None) -> bool:
    """Whether the measured counts of a file are flat-fielded: those of an FLT that was not multiplied by its flat."""
    return kind == "FLT" and is_divided(flat_correction) and multiplied_by is None


@dataclass(frozen=True, slots=True)
class RegionMeasurement:
    """Counts and rate of one region of one file.

    Attributes
    ----------
    counts : float
        Sum over the region's good pixels: an integer in RAW files; in FLT files flat-fielded counts, or, if the file
        has `multiplied_by`, FLT x flat.
    rate_count_s_pix, rate_err_count_s_pix : float
        counts / (good_pixels x exposure time), and its 1-sigma Poisson error.
    """

    region: str
    version: int
    counts: float
    good_pixels: int
    rate_count_s_pix: float
    rate_err_count_s_pix: float


@dataclass(frozen=True, slots=True)
class ExposureFacts:
    """The facts about an exposure in one RAW or FLT, and doubts about them that are told but not stored."""

    rootname: str
    kind: str
    program: int | None
    target: str | None
    filter: str | None
    association: str | None
    start_utc: datetime
    start_mjd: float
    exptime_s: float
    temperature_start_c: float
    temperature_end_c: float
    exposure_flag: str | None
    processed_mjd: float | None
    calibration_version: str | None
    dark_correction: str | None
    mean_dark_count: float | None
    flat_correction: str | None
    flat_file: str | None
    multiplied_by: str | None
    photflam_erg_s_cm2_a: float | None
    photplam_a: float | None
    measurements: tuple[RegionMeasurement, ...]
    observation_quality: str | None = None
    guide_star_lock: str | None = None
    hot_pixels: int | None = None
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AssociationFacts:
    """The contents of one ASN table: (root name, member type) of every row, in order."""

    name: str
    program: int | None
    target: str | None
    members: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class FileReading:
    """A file that was read: exactly one of `exposure` and `association` is set."""

    uri: str
    kind: str
    size_byte: int
    mtime_ns: int
    sha256: str | None
    exposure: ExposureFacts | None = None
    association: AssociationFacts | None = None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A file that was not ingested, and why: an ignored file is not an SBC product, a rejected one is a bad one."""

    uri: str
    reason: str
    ignored: bool
    size_byte: int = 0
    mtime_ns: int = 0


@dataclass(frozen=True, slots=True)
class Superseded:
    """A file whose measurements no longer count for its exposure, and the stored selections that use it.

    `by` is the file that counts instead; None if there is none.
    """

    exposure: str | None
    uri: str
    by: str | None
    selections: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StoredFile(FileRecord):
    """A file in the catalog, with the name of its exposure or association."""

    name: str = ""


@dataclass(frozen=True, slots=True)
class FileChange:
    """What a check found about a file: its state in the catalog, and its state, place, size and time now."""

    file: StoredFile
    state: str
    uri: str
    size_byte: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class KnownFile:
    """What the catalog knows of the file at a URI."""

    size_byte: int
    mtime_ns: int
    sha256: str | None
    state: str
    etag: str | None = None
    complete: bool = True
    """False for rows of an earlier release, which stored fewer facts of a file."""
    multiplied_by: str | None = None
    divided_by: str | None = None
    """The flat (PFLTFILE) of an FLT whose regions were measured on flat-fielded counts; else None."""


@dataclass(frozen=True, slots=True)
class ScoredDark:
    """One dark of a selection with every term of its score. Every difference is science minus dark."""

    rank: int
    dark: str
    program: int | None
    score: float
    weight: float
    delta_sigma: float | None
    delta_box_rate_count_s_pix: float | None
    delta_contrast_count_s_pix: float | None
    delta_temperature_c: float
    delta_days: float
    exptime_s: float
    uri: str | None
    file_id: int | None = field(repr=False, default=None)
    file: FileRecord | None = field(repr=False, default=None)
    role: str | None = field(compare=False, default=None)
    """Why the templates of the model include it: ``rule``, ``cold`` or ``warm``."""


@dataclass(frozen=True, slots=True)
class RejectedDark:
    """A nearby dark that is not selected."""

    dark: str
    reason: str


@dataclass(frozen=True, slots=True)
class Match:
    """The ranked darks of one exposure, with its compared file and the catalog's revision at that time."""

    exposure: str
    rule: str
    tier: str
    darks: tuple[ScoredDark, ...]
    nearest_rejected: tuple[RejectedDark, ...]
    warnings: tuple[str, ...]
    parameters: dict[str, Any] = field(default_factory=dict)
    selection_id: int | None = None
    file_id: int | None = None
    catalog_revision: int | None = None
    templates: tuple[ScoredDark, ...] = ()
    """The darks of the templates with which `run` would model the dark, each with its role."""


@dataclass(frozen=True, slots=True)
class AssociationRecord:
    """An association and the exposures that it names; `absent` ones are not in the catalog."""

    name: str
    program: int | None
    target: str | None
    members: tuple[str, ...]
    absent: tuple[str, ...]

    @property
    def present(self) -> tuple[str, ...]:
        """The members in the catalog, in order."""
        return tuple(member for member in self.members if member not in self.absent)


@dataclass(frozen=True, slots=True)
class RunDark:
    """A dark as the outlier test uses it; rates in count/s/pixel, temperature in deg C."""

    rootname: str
    start_mjd: float
    temperature_mean_c: float
    box_rate: float
    box_rate_err: float
    quiet_rate: float
    quiet_rate_err: float
    quality: str
    by_hand: bool
    hot_pixels: int | None = None

"""Records that leave a session: frozen, complete, with units in their names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class ExposureRecord:
    """One exposure as it is listed; field names are the JSON keys of the contract."""

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


@dataclass(frozen=True, slots=True)
class MatchValues:
    """What a rule compares: one exposure's values and their errors."""

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
    def is_present(self) -> bool:
        """Whether its pixels can be read: it has a file, and that was not found to be gone."""
        return self.file is not None and self.file.state == "present"


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Where an exposure's RAW or FLT (or an association's ASN) is, and what its header says of its calibration."""

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
    photflam_erg_s_cm2_a: float | None = None
    photplam_a: float | None = None
    etag: str | None = None
    processed_mjd: float | None = None


@dataclass(frozen=True, slots=True)
class RegionMeasurement:
    """Counts and rate of one region of one file.

    Attributes
    ----------
    counts : float
        Sum over the region's good pixels; a whole number in RAW files, flat-fielded counts in FLT files.
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
    """What one RAW or FLT says of its exposure."""

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
    photflam_erg_s_cm2_a: float | None
    photplam_a: float | None
    measurements: tuple[RegionMeasurement, ...]
    observation_quality: str | None = None
    guide_star_lock: str | None = None
    hot_pixels: int | None = None


@dataclass(frozen=True, slots=True)
class AssociationFacts:
    """What one ASN table says: (root name, member type) of every row, in order."""

    name: str
    program: int | None
    target: str | None
    members: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class FileReading:
    """A file that was read: exactly one of `exposure` and `association` is there."""

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
    """A file that was not taken, and why: `ignored` is none of ours, a rejected one claims to be and is not sound."""

    uri: str
    reason: str
    ignored: bool
    size_byte: int = 0
    mtime_ns: int = 0


@dataclass(frozen=True, slots=True)
class Superseded:
    """A file whose measurements no longer count for its exposure, and the stored selections that rest on it.

    `by` is the file that counts instead; None where there is none.
    """

    exposure: str | None
    uri: str
    by: str | None
    selections: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file as the catalog knows it, with the name of its exposure or association."""

    id: int
    name: str
    kind: str
    uri: str
    size_byte: int
    mtime_ns: int
    sha256: str | None
    etag: str | None
    state: str


@dataclass(frozen=True, slots=True)
class FileChange:
    """What was found of a file: how the catalog knew it, and its state, place, size and time now."""

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
    """False for what an earlier release read: it kept less of a file than this one does."""


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


@dataclass(frozen=True, slots=True)
class RejectedDark:
    """A dark that was near and was not taken."""

    dark: str
    reason: str


@dataclass(frozen=True, slots=True)
class Match:
    """The ranked darks of one exposure, with the file of it that was compared and the catalog's revision then."""

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
        """The members that are in the catalog, in order."""
        return tuple(member for member in self.members if member not in self.absent)


@dataclass(frozen=True, slots=True)
class NewProduct:
    """A product to be recorded."""

    name: str
    kind: str
    uri: str
    sha256: str
    pixels_sha256: str
    parameters: dict[str, Any]
    fits: dict[int, dict[str, Any]]
    """What was fitted, by selection id."""


@dataclass(frozen=True, slots=True)
class PhotometryRecord:
    """Photometry in one aperture; field names are the JSON keys of the contract.

    Attributes
    ----------
    net_count_s, source_count_s : float
        Science minus dark, and science minus dark minus sky, drizzled count/s. Flux and magnitudes are those of the
        source.
    flux_limit_erg_s_cm2_a, ab_mag_limit : float or None
        3-sigma upper limit where the significance is below 3; there is no magnitude then.
    source_low_count_s, source_high_count_s : float
        Limits of the 68 % interval of the source, drizzled count/s.
    significance_sigma : float or None
        Chance of so many counts without a source, as a one-sided sigma; None without any count.
    native_count, native_background_count, native_background_err_count : float
        Counts on the detector in the aperture, the counts expected there of dark and sky, and their error. The source
        in count/s over (native_count - native_background_count) is the rate of one count.
    sky_method : str
        ``fit``, ``annulus:R_IN,R_OUT`` or ``none``.
    """

    association: str
    aperture: str
    x_pix: float
    y_pix: float
    ra_deg: float
    dec_deg: float
    area_pix: float
    coverage: float
    science_count_s: float
    science_err_count_s: float
    dark_count_s: float
    dark_err_count_s: float
    net_count_s: float
    net_err_count_s: float
    sky_count_s: float | None
    sky_err_count_s: float | None
    source_count_s: float
    source_err_count_s: float
    dark_fraction: float | None
    flux_erg_s_cm2_a: float | None
    ab_mag: float | None
    ab_mag_err: float | None
    flux_err_erg_s_cm2_a: float | None
    flux_limit_erg_s_cm2_a: float | None
    ab_mag_limit: float | None
    st_mag: float | None
    source_low_count_s: float
    source_high_count_s: float
    significance_sigma: float | None
    native_count: float
    native_background_count: float
    native_background_err_count: float
    sky_method: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StoredSelection:
    """A selection as it was stored: darks in their order, each with the file that was used and its state today."""

    id: int
    exposure: str
    rule: str
    tier: str
    parameters: dict[str, Any]
    darks: tuple[ScoredDark, ...]
    file_states: tuple[str, ...]
    catalog_revision: int
    software_version: str
    created_utc: datetime


@dataclass(frozen=True, slots=True)
class StoredProduct:
    """A product as it was stored, with the selections that it rests on."""

    id: int
    name: str
    kind: str
    uri: str
    sha256: str
    pixels_sha256: str
    parameters: dict[str, Any]
    selection_ids: tuple[int, ...]
    software_version: str


@dataclass(frozen=True, slots=True)
class RunDark:
    """A dark as the outlier test needs it; rates in count/s/pixel, temperature in deg C."""

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

"""Records of what was chosen, made and measured, as they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

    from sbcdark.catalog.records import ScoredDark


@dataclass(frozen=True, slots=True)
class NewProduct:
    """A product to store."""

    name: str
    kind: str
    uri: str
    sha256: str
    pixels_sha256: str
    parameters: dict[str, Any]
    fits: dict[int, dict[str, Any]]
    """The fit, by selection id."""


@dataclass(frozen=True, slots=True)
class PhotometryRecord:
    """Photometry in one aperture; the field names are the JSON keys.

    Attributes
    ----------
    target, filter : str or None
        Of the exposures; several are joined by ``+``.
    start_utc : datetime
        Start of the first exposure, UTC.
    exptime_s : float
        Sum of the exposure times.
    aperture, shape : str
        Its label, and its shape and place as text that is read back as the same aperture.
    effective_radius_pix, effective_radius_arcsec : float
        Radius of the circle with the same area, product pixels and arcsec.
    net_count_s, source_count_s : float
        Science minus dark, and science minus dark minus sky, drizzled count/s. Flux and magnitudes are those of the
        source.
    flux_limit_erg_s_cm2_a, ab_mag_limit, st_mag_limit : float or None
        3-sigma upper limit if the significance is below 3; there is no magnitude then.
    source_low_count_s, source_high_count_s : float
        Limits of the 68 % interval of the source, drizzled count/s.
    significance_sigma : float or None
        Probability of this many counts without a source, as a one-sided sigma; None without any count.
    native_count, native_background_count, native_background_err_count : float
        Detector counts in the aperture, the counts expected there from dark and sky, and their error. The source in
        count/s divided by (native_count - native_background_count) is the rate of one count.
    sky_method : str
        ``fit``, ``annulus:R_IN,R_OUT`` or ``none``.
    """

    association: str
    target: str | None
    filter: str | None
    start_utc: datetime
    exptime_s: float
    aperture: str
    shape: str
    x_pix: float
    y_pix: float
    ra_deg: float
    dec_deg: float
    area_pix: float
    effective_radius_pix: float
    effective_radius_arcsec: float
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
    st_mag_err: float | None
    st_mag_limit: float | None
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
    """A stored selection: its darks in order, each with its file and that file's state today."""

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
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListedProduct:
    """A stored product: its file, its pixels, and how it was made."""

    id: int
    name: str
    kind: str
    uri: str
    sha256: str
    pixels_sha256: str
    parameters: dict[str, Any]
    catalog_revision: int
    software_version: str
    created_utc: datetime


@dataclass(frozen=True, slots=True)
class StoredProduct(ListedProduct):
    """A stored product, with the selections that it uses."""

    selection_ids: tuple[int, ...]

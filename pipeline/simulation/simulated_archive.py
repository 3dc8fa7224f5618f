"""A simulated SBC archive with known truth: RAW darks, two associations of dithered FLTs, and their flat.

The expected pixel of an FLT is (dark + (sky + source) x flat) x time / flat: sky and source are defined in a
flat-fielded frame, which for HST shows surface brightness (the flat includes the pixel area). The source is a Gaussian
on the sky. A drizzled pixel has the same value as the native pixels under it, so the drizzled count rate of the source
is the integral over the sky in units of IDCSCALE^2, whatever the local pixel area.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from sbcdark.pipeline.detector.dark_shape import row_sensitivity
from sbcdark.pipeline.detector.regions import DETECTOR_SHAPE, HOT_PIXELS_XY
from sbcdark.pipeline.simulation import headers
from sbcdark.pipeline.simulation.darks import (
    FLAGGED_ROWS,
    Exposure,
    Extension,
    Parameters,
    SimulatedFile,
    dark_counts,
    dark_rate,
    darks,
    draw_exposure,
    exposure_cards,
    raw_darks,
)
from sbcdark.pipeline.simulation.sky import (
    IDCSCALE,
    Pixels,
    native_plane,
    pixel_area_arcsec2,
    plane_to_sky,
    sky_to_plane,
    tangent_plane,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from sbcdark.pipeline.simulation.headers import Value

FLAT_NAME = "sbc_simulated_pfl.fits"
"""File name of the flat; the FLTs refer to it as ``jref$sbc_simulated_pfl.fits``."""

POINTING = (165.55871, 38.04316)
"""RA and Dec of the reference pixel of each association's first exposure, degree."""

DITHER_ARCSEC = (0.55, -0.35)
"""East and north offset of each association's second pointing."""

APERTURE_SIGMAS = 3.0
"""Semi-axes of the recommended aperture, in sigmas of the source."""

PHOTOMETRY = {"F150LP": (4.39e-17, 1610.7), "F165LP": (1.36e-16, 1762.5)}
"""PHOTFLAM (erg/s/cm2/A per count/s) and PHOTPLAM (A): rounded values like the SBC's own, not a calibration."""


@dataclass(frozen=True, slots=True)
class Source:
    """A Gaussian source on the sky: position (degree), axes (arcsec), total rate in drizzled count/s."""

    ra_deg: float
    dec_deg: float
    sigma_major_arcsec: float
    sigma_minor_arcsec: float
    pa_deg: float
    drizzled_count_s: float


@dataclass(frozen=True, slots=True)
class ScienceExposure:
    """Truth of one FLT: the detector's dark, the pointing (degree), and the contents of the aperture.

    `source_count_s` is the total source in native, flat-fielded count/s; `aperture_dark_counts` the expected dark in
    the aperture in native, flat-fielded counts; `aperture_area_pix` the area of the aperture in native pixels.
    """

    exposure: Exposure
    pointing: tuple[float, float]
    source_count_s: float
    aperture_dark_counts: float
    aperture_area_pix: float


@dataclass(frozen=True, slots=True)
class Association:
    """Truth of one association.

    `aperture` is in the notation of the commands; `aperture_fraction` is the fraction of the source in it;
    `aperture_source_count_s` and `aperture_dark_count_s` are the values in the drizzled product, count/s;
    `aperture_flux_erg_s_cm2_a` is the former times PHOTFLAM. `sky_count_s_pix` is per native pixel and, as a surface
    brightness, per drizzled pixel, too.
    """

    name: str
    filter: str
    source: Source
    sky_count_s_pix: float
    exposures: tuple[ScienceExposure, ...]
    aperture: str
    aperture_fraction: float
    aperture_source_count_s: float
    aperture_dark_count_s: float
    aperture_flux_erg_s_cm2_a: float


@dataclass(frozen=True, slots=True)
class SimulatedArchive:
    """The truth of all files, and the files."""

    parameters: Parameters
    darks: tuple[Exposure, ...]
    associations: tuple[Association, ...]

    def files(self) -> Iterator[SimulatedFile]:
        """Yield every file, each made on demand (an FLT has 10 MB)."""
        yield from raw_darks(self.parameters)
        for association in self.associations:
            yield association_table(association)
            for member in association.exposures:
                yield flat_fielded(self.parameters, association, member)
        if self.associations:
            yield flat_file(self.parameters)


def simulate(parameters: Parameters | None = None) -> SimulatedArchive:
    """Simulate an archive.

    Parameters
    ----------
    parameters : Parameters, optional
        The default has 24 darks, one cold association (18 C, no glow) and one warm one (26 to 27 C, with more and
        with less glow than darks of that temperature typically have).

    Returns
    -------
    SimulatedArchive
        Truth, and an iterator of files.
    """
    parameters = parameters or Parameters()
    associations: tuple[Association, ...] = ()
    if parameters.associations:
        # Temperatures (C) and mean glow of the box (count/s/pixel) of the two exposures.
        cold = _association(parameters, 0, "F150LP", 3.0, 4.0e-6, ((18.5, 0.0), (19.5, 0.0)))
        warm = _association(parameters, 1, "F165LP", 0.8, 2.2e-6, ((26.3, 4.5e-5), (26.9, 2.5e-5)))
        associations = (cold, warm)
    return SimulatedArchive(parameters, darks(parameters), associations)


def sigmas_from_source(source: Source, xi: Pixels, eta: Pixels, pointing: tuple[float, float]) -> Pixels:
    """Return the squared distance of points of the tangent plane (degree) from the source, in its sigmas."""
    xi0, eta0 = sky_to_plane(source.ra_deg, source.dec_deg, pointing)
    east, north, pa = (xi - xi0) * 3600.0, (eta - eta0) * 3600.0, math.radians(source.pa_deg)
    major = (east * math.sin(pa) + north * math.cos(pa)) / source.sigma_major_arcsec
    minor = (east * math.cos(pa) - north * math.sin(pa)) / source.sigma_minor_arcsec
    return np.asarray(major**2 + minor**2)


def source_rate(source: Source, pointing: tuple[float, float]) -> Pixels:
    """Return the source in a flat-fielded frame, shape (1024, 1024), count/s/pixel."""
    area = 2.0 * math.pi * source.sigma_major_arcsec * source.sigma_minor_arcsec
    peak = source.drizzled_count_s * IDCSCALE**2 / area
    return np.asarray(peak * np.exp(-0.5 * sigmas_from_source(source, *native_plane(), pointing)))


@lru_cache(maxsize=1)
def flat(seed: int) -> NDArray[np.float32]:
    """Return the flat, shape (1024, 1024), with mean near 1: 4 % from pixel to pixel, 5 % across the frame."""
    y, x = np.ogrid[: DETECTOR_SHAPE[0], : DETECTOR_SHAPE[1]]
    smooth = 1.0 + 0.05 * np.cos(2.0 * np.pi * x / 1500.0) * np.sin(2.0 * np.pi * y / 1300.0)
    noise = np.random.default_rng([seed, 0, 2]).normal(1.0, 0.04, DETECTOR_SHAPE)
    sensitivity = np.asarray((smooth * noise).clip(0.5, 1.5), dtype=np.float32)
    sensitivity.flags.writeable = False
    return sensitivity


def _association(
    parameters: Parameters,
    number: int,
    filter_name: str,
    drizzled_count_s: float,
    sky: float,
    warmth: tuple[tuple[float, float], ...],
) -> Association:
    # Left of and below the centre, away from the dead rows in both pointings.
    xi, eta = tangent_plane(np.array(540.0), np.array(490.0))
    ra, dec = plane_to_sky(float(xi), float(eta), POINTING)
    source = Source(ra, dec, 0.6, 0.4, 30.0, drizzled_count_s)
    members = []
    for step, (temperature, glow_box) in enumerate(warmth):
        east, north = (offset * step / 3600.0 for offset in DITHER_ARCSEC)
        pointing = plane_to_sky(east, north, POINTING)
        exposure = draw_exposure(
            parameters,
            1_000_000 + 2 * number + step,  # after every dark
            f"jzzs11{chr(ord('a') + number)}{step + 1}q",
            parameters.first_science_mjd + 0.12 * number + 0.02 * step,
            temperature,
            exposure_s=parameters.science_exposure_s,
            glow_box=glow_box,
        )
        members.append((exposure, pointing, *_in_aperture(parameters, source, exposure, pointing)))
    k = APERTURE_SIGMAS
    fraction = 1.0 - math.exp(-0.5 * k**2)
    time = sum(exposure.exposure_s for exposure, *_ in members)
    return Association(
        name=f"jzzs11{number + 1:02d}0",
        filter=filter_name,
        source=source,
        sky_count_s_pix=sky,
        exposures=tuple(
            ScienceExposure(exposure, pointing, float(source_rate(source, pointing).sum()), counts, area)
            for exposure, pointing, counts, _, area in members
        ),
        aperture=f"ellipse@{ra:.7f},{dec:.7f},{k * source.sigma_major_arcsec:g},{k * source.sigma_minor_arcsec:g},"
        f"{source.pa_deg:g}",
        aperture_fraction=fraction,
        aperture_source_count_s=drizzled_count_s * fraction,
        aperture_dark_count_s=sum(drizzled for *_, drizzled, _ in members) / time,
        aperture_flux_erg_s_cm2_a=drizzled_count_s * fraction * PHOTOMETRY[filter_name][0],
    )


def _in_aperture(
    parameters: Parameters, source: Source, exposure: Exposure, pointing: tuple[float, float]
) -> tuple[float, float, float]:
    """Return the expected dark counts in the aperture (native; times the area factor) and its native area in pixels."""
    reach = sigmas_from_source(source, *native_plane(), pointing) < (APERTURE_SIGMAS + 0.5) ** 2
    y, x = (index.astype(np.float64) for index in np.nonzero(reach))
    steps = (np.arange(5) - 2.0) / 5.0
    inside = np.zeros_like(x)
    for down in steps:
        for right in steps:
            inside += sigmas_from_source(source, *tangent_plane(x + right, y + down), pointing) < APERTURE_SIGMAS**2
    inside /= steps.size**2
    seen = inside * (dark_rate(exposure) / flat(parameters.seed))[reach] * exposure.exposure_s
    factor = pixel_area_arcsec2(x, y) / IDCSCALE**2
    return float(seen.sum()), float((factor * seen).sum()), float(inside.sum())


def flat_fielded(parameters: Parameters, association: Association, member: ScienceExposure) -> SimulatedFile:
    """Make an FLT.

    Parameters
    ----------
    parameters : Parameters
        The seed.
    association, member : Association, ScienceExposure
        Returned by `simulate`.

    Returns
    -------
    SimulatedFile
        SCI and ERR float32 in counts, DQ int16; ERR is calacs's max(sqrt(N), 1), divided by the flat like SCI.
    """
    exposure = member.exposure
    rng = np.random.default_rng([parameters.seed, exposure.number, 1])
    sensitivity = flat(parameters.seed)
    shown = association.sky_count_s_pix + source_rate(association.source, member.pointing)
    photons = rng.poisson(shown * sensitivity * row_sensitivity() * exposure.exposure_s)
    primary: dict[str, Value] = {
        "RA_TARG": association.source.ra_deg,
        "DEC_TARG": association.source.dec_deg,
        "FILTER1": association.filter,
        "PFLTFILE": f"jref${FLAT_NAME}",
    }
    counts = dark_counts(exposure, rng) + photons
    photometry = PHOTOMETRY[association.filter]
    return flt_file(exposure, counts, sensitivity, member.pointing, association.name, primary, photometry)


def flt_file(
    exposure: Exposure,
    counts: NDArray[np.int64],
    sensitivity: NDArray[np.float32],
    pointing: tuple[float, float],
    association: str,
    primary: dict[str, Value],
    photometry: tuple[float, float],
) -> SimulatedFile:
    """Make an FLT with given counts.

    Parameters
    ----------
    exposure : Exposure
        Its name, times and temperatures.
    counts : ndarray of int64, shape (1024, 1024)
        What the detector counted.
    sensitivity : ndarray of float32, shape (1024, 1024)
        The flat that SCI and ERR are divided by.
    pointing : tuple of float
        RA and Dec of the reference pixel, degree.
    association : str
        The association that it belongs to.
    primary : dict
        More primary cards; FILTER1 among them.
    photometry : tuple of float
        PHOTFLAM (erg/s/cm2/A per count/s) and PHOTPLAM (A).

    Returns
    -------
    SimulatedFile
        SCI and ERR float32 in counts, DQ int16; ERR is calacs's max(sqrt(N), 1), divided by the flat like SCI.
    """
    name = f"{exposure.rootname}_flt.fits"
    primary = exposure_cards(exposure) | headers.SCIENCE_PRIMARY | primary
    primary |= {"FILENAME": name, "ASN_ID": association.upper(), "ASN_TAB": f"{association}_asn.fits"}
    quality = np.zeros(DETECTOR_SHAPE, dtype=np.int16)
    quality[FLAGGED_ROWS] = 4
    for x, y in HOT_PIXELS_XY:
        quality[y, x] |= 16
    names: dict[str, Value] = {"ROOTNAME": exposure.rootname, "EXPNAME": exposure.rootname}
    wcs: dict[str, Value] = {"CRVAL1": pointing[0], "CRVAL2": pointing[1]}
    wcs |= {keyword: headers.DISTORTION[keyword] for keyword in headers.LINEAR}
    photflam, photplam = photometry
    pixels = (counts / sensitivity).astype(np.float32)
    science = names | headers.DISTORTION | wcs
    science |= {
        "CTYPE1": "RA---TAN-SIP",
        "CTYPE2": "DEC--TAN-SIP",
        "DATAMAX": float(pixels.max()),
        "PHOTMODE": f"ACS SBC {primary['FILTER1']} MJD#{exposure.start_mjd:.4f}",
        "PHOTFLAM": photflam,
        "PHOTPLAM": photplam,
        "PHOTZPT": -21.1,
        "MDECODT1": exposure.temperature_start_c,
        "MDECODT2": exposure.temperature_end_c,
        "GLOBRATE": round(float(counts.sum()) / exposure.exposure_s, 4),
    }
    errors = (np.sqrt(counts).clip(1.0) / sensitivity).astype(np.float32)
    return SimulatedFile(
        name=name,
        cards=headers.override(headers.PRIMARY, primary),
        extensions=(
            Extension(headers.override(headers.SCIENCE, science), pixels),
            Extension(headers.override(headers.ERROR, names | wcs | {"EXTNAME": "ERR"}), errors),
            Extension(headers.override(headers.QUALITY, names | wcs | {"EXTNAME": "DQ", "BUNIT": "UNITLESS"}), quality),
        ),
    )


def association_table(association: Association) -> SimulatedFile:
    """Make the table of an association: its members and its product."""
    source = association.source
    primary: dict[str, Value] = {"TARGNAME": headers.TARGET, "PROPOSID": headers.SCIENCE_PROGRAM}
    primary |= {"RA_TARG": source.ra_deg, "DEC_TARG": source.dec_deg}
    return association_file(association.name, [member.exposure.rootname for member in association.exposures], primary)


def association_file(name: str, members: list[str], primary: dict[str, Value]) -> SimulatedFile:
    """Make an association's table from its name, the root names of its members and more primary cards."""
    rows = [(member.upper(), "EXP-DTH", True) for member in members]
    rows.append((name.upper(), "PROD-DTH", True))
    table = np.array(rows, dtype=[("MEMNAME", "S14"), ("MEMTYPE", "S14"), ("MEMPRSNT", "?")])
    file_name = f"{name}_asn.fits"
    primary = primary | {"FILENAME": file_name, "ROOTNAME": name, "ASN_ID": name, "ASN_TAB": file_name}
    cards = (("EXTNAME", "ASN     ", "extension name"), ("EXTVER", 1, "extension version number"))
    return SimulatedFile(file_name, headers.override(headers.ASSOCIATION_PRIMARY, primary), (Extension(cards, table),))


def flat_file(parameters: Parameters, name: str = FLAT_NAME) -> SimulatedFile:
    """Make the file of the flat, for the folder of the environment variable `jref`."""
    cards = (
        ("TELESCOP", "HST", "telescope used to acquire data"),
        ("INSTRUME", "ACS", "identifier for instrument used to acquire data"),
        ("DETECTOR", "SBC", "detector in use: WFC, HRC, or SBC"),
        ("FILETYPE", "PIXEL-TO-PIXEL FLAT", "type of data found in data file"),
        ("PEDIGREE", "DUMMY", "origin of the data"),
        ("DESCRIP", "Simulated flat", "what the file is"),
    )
    extension = (("EXTNAME", "SCI     ", "extension name"), ("EXTVER", 1, "extension version number"))
    return SimulatedFile(name, cards, (Extension(extension, flat(parameters.seed)),))

"""Dark-subtracted photometry on drizzled products, with errors from native counts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sbcdark.catalog.records import PhotometryRecord
from sbcdark.pipeline.products.apertures import aperture_sum, sky_position
from sbcdark.pipeline.products.compatibility import last_calibrated
from sbcdark.pipeline.products.footprints import poisson_error

if TYPE_CHECKING:
    from sbcdark.pipeline.products.records import Built

_MAGNITUDE = 2.5 / math.log(10.0)


def calibrated(
    net_count_s: float, net_err_count_s: float, photflam: float | None, photplam: float | None
) -> tuple[float | None, float | None, float | None]:
    """Return flux and AB magnitude of a drizzled net rate.

    flux = rate x PHOTFLAM; STMAG = -2.5 log10(flux) - 21.10; ABMAG = STMAG - 5 log10(PHOTPLAM) + 18.6921 (ACS Data
    Handbook, section 5.1).

    Parameters
    ----------
    net_count_s, net_err_count_s : float
        Drizzled count/s at IDCSCALE.
    photflam : float or None
        erg/s/cm2/A per count/s.
    photplam : float or None
        Pivot wavelength, Angstrom.

    Returns
    -------
    flux, ab_mag, ab_mag_err : float or None
        erg/s/cm2/A and magnitudes; None where the keywords or a positive net rate are missing.
    """
    if photflam is None:
        return None, None, None
    flux = net_count_s * photflam
    if photplam is None or flux <= 0:
        return flux, None, None
    st_magnitude = -2.5 * math.log10(flux) - 21.10
    ab_magnitude = st_magnitude - 5.0 * math.log10(photplam) + 18.6921
    return flux, ab_magnitude, _MAGNITUDE * net_err_count_s / net_count_s


def measure(built: Built) -> tuple[list[PhotometryRecord], list[str]]:
    """Measure every aperture of a build on its science product and masterdark.

    The errors come from native counts through the apertures' footprints on the detector, never from the square root of
    drizzled counts. Science and dark are independent: the apertures are left out of the dark's fit.

    Returns
    -------
    records : list of PhotometryRecord
        One an aperture that lies on data, wholly or in part.
    warnings : list of str
        Which apertures do not, or only in part.
    """
    file = None if built.mixed else last_calibrated([one.file for one in built.inputs])
    flats = [flat for one in built.inputs if (flat := one.flat_pixels) is not None]
    records, warnings = [], []
    for ellipse, footprints in zip(built.ellipses, built.footprints, strict=True):
        total, dark_total = aperture_sum(built.product.science, ellipse), aperture_sum(built.dark, ellipse)
        if total.covered_pix == 0:
            warnings.append(
                f"{built.masterdark.association}: {ellipse.label} lies outside the data; it is not measured"
            )
            continue
        if total.covered_pix < 0.999 * total.area_pix:
            warnings.append(
                f"{built.masterdark.association}: only {total.covered_pix / total.area_pix:.0%} of {ellipse.label} "
                "lies on data"
            )
        science_error = poisson_error(
            footprints,
            [one.counts for one in built.inputs],
            [one.values.exptime_s for one in built.inputs],
            flats if len(flats) == len(built.inputs) else None,
        )
        weights = [one.detector_weights(print_) for one, print_ in zip(built.inputs, footprints, strict=True)]
        dark_error = built.estimate.aperture_error(weights)
        net, net_error = total.total - dark_total.total, math.hypot(science_error, dark_error)
        flux, magnitude, magnitude_error = calibrated(
            net,
            net_error,
            None if file is None else file.photflam_erg_s_cm2_a,
            None if file is None else file.photplam_a,
        )
        ra, dec = sky_position(ellipse, built.product.wcs)
        records.append(
            PhotometryRecord(
                association=built.masterdark.association,
                aperture=ellipse.label,
                x_pix=ellipse.x,
                y_pix=ellipse.y,
                ra_deg=ra,
                dec_deg=dec,
                area_pix=total.area_pix,
                coverage=total.covered_pix / total.area_pix,
                science_count_s=total.total,
                science_err_count_s=science_error,
                dark_count_s=dark_total.total,
                dark_err_count_s=dark_error,
                net_count_s=net,
                net_err_count_s=net_error,
                dark_fraction=dark_total.total / total.total if total.total > 0 else None,
                flux_erg_s_cm2_a=flux,
                ab_mag=magnitude,
                ab_mag_err=magnitude_error,
            )
        )
    if records and file is None:
        why = "the exposures are mixed" if built.mixed else "PHOTFLAM is missing or 0"
        warnings.append(f"{built.masterdark.association}: {why}, so no flux is given")
    return records, warnings

"""What is measured, as the methods of a catalog take it: apertures, and radii of curves of growth."""

from __future__ import annotations

from collections.abc import Iterable
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sbcdark.keywords import wrong_type

if TYPE_CHECKING:
    from sbcdark.keywords import Apertures, Folder, Radii
    from sbcdark.pipeline.apertures.apertures import ApertureSpec


def apertures_from(
    apertures: Apertures, regions: Folder | None, notes: list[str] | None = None
) -> tuple[ApertureSpec, ...]:
    """Return the apertures that are given one by one, and by a file of DS9 regions.

    Parameters
    ----------
    apertures : str, ApertureSpec, photutils aperture or region, or iterable of these
    notes : list of str, optional
        Receives a warning for each region that is skipped.

    Raises
    ------
    UsageError
        One of them cannot be read.
    TypeError
        One of them is something else.
    """
    from sbcdark.pipeline.apertures.apertures import ApertureSpec  # noqa: PLC0415  each job loads what it needs
    from sbcdark.pipeline.estimation.options import apertures_of  # noqa: PLC0415

    # photutils' apertures and regions convert themselves to pixels or to masks, and some of them are iterable.
    shape = hasattr(apertures, "to_mask") or hasattr(apertures, "to_pixel")
    one = shape or isinstance(apertures, str | ApertureSpec) or not hasattr(apertures, "__iter__")
    given = [apertures] if one else list(apertures)
    return apertures_of(given, None if regions is None else Path(regions), notes)


def radii_from(radii: Radii, apertures: Iterable[ApertureSpec] = ()) -> tuple[float, ...]:
    """Return the radii of a curve of growth: text ``R1,R2,...``, numbers, or a Quantity in the unit of the apertures.

    Raises
    ------
    UsageError
        One is not a positive number, or an aperture has another unit.
    TypeError
        They are something else.
    """
    from sbcdark.catalog.errors import UsageError  # noqa: PLC0415  each job loads what it needs
    from sbcdark.pipeline.products.product_files import parse_growth  # noqa: PLC0415

    if isinstance(radii, str):
        return parse_growth(radii)
    given: Any = radii
    expected = "numbers, text such as '5,10,20', or a Quantity in pixels or arcsec"
    if hasattr(given, "unit"):
        on_sky = given.unit.physical_type == "angle"
        if not on_sky and str(given.unit) != "pix":
            raise wrong_type("growth", expected, radii)
        for one in apertures:
            if on_sky != (one.frame == "icrs"):
                raise UsageError(
                    f"The radii of growth are in {given.unit}, the aperture {one.text} is not.",
                    "Give the radii in pixels for apertures in pixels, in arcsec for apertures on the sky.",
                )
        given = given.to_value("arcsec" if on_sky else "pix")
    many = getattr(given, "tolist", lambda: given)()  # an array may be a single number
    values = list(many) if isinstance(many, Iterable) else [many]
    if not all(isinstance(value, Real) and not isinstance(value, bool) for value in values):
        raise wrong_type("growth", expected, radii)
    return parse_growth(",".join(str(float(value)) for value in values))

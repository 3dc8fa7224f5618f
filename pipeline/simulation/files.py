"""Writing of the simulated files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sbcdark.pipeline.frames.fits_output import quiet_astropy, write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from sbcdark.pipeline.simulation.darks import SimulatedFile
    from sbcdark.pipeline.simulation.headers import Card


def write_simulated(target: Path, file: SimulatedFile) -> None:
    """Write one simulated file.

    Parameters
    ----------
    target : Path
        The path, in an existing folder.
    file : SimulatedFile
        The cards and arrays.

    Raises
    ------
    SbcdarkError
        The file cannot be written.
    """
    from astropy.io import fits  # noqa: PLC0415  costly, and light commands import this module

    with quiet_astropy():
        hdus = fits.HDUList([fits.PrimaryHDU(header=_header(file.cards))])
        for extension in file.extensions:
            header = _header(extension.cards)
            table = extension.data is not None and extension.data.dtype.names is not None
            hdu = (fits.BinTableHDU if table else fits.ImageHDU)(extension.data, header)
            hdus.append(hdu)
        write_whole(hdus, target)


def _header(cards: tuple[Card, ...]) -> Any:
    from astropy.io import fits  # noqa: PLC0415  costly, and light commands import this module

    return fits.Header([fits.Card(*card) for card in cards])

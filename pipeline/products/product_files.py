"""The files of a target's products: their names, their inputs, and the protection of existing files.

The names differ from those of the archive. An existing file is replaced only if it was made from the same inputs, or
with --overwrite.
"""

from __future__ import annotations

import hashlib
import json
import math
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.catalog.version import SOFTWARE_VERSION
from sbcdark.catalog.workspace import new_folder, sweep
from sbcdark.pipeline.apertures.apertures import clean_label, parse_aperture
from sbcdark.pipeline.frames.fits_output import read_cards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from sbcdark.catalog.records import FileRecord, Match, MatchValues
    from sbcdark.pipeline.apertures.apertures import ApertureSpec
    from sbcdark.pipeline.estimation.options import BuildOptions

KEY_CARD = "DRKINPUT"
"""Header card of a product that identifies its inputs."""


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make the folder of products, and remove what killed runs have left there; without products, a new one goes again.

    Raises
    ------
    SbcdarkError
        It cannot be created.
    """
    with ExitStack() as made:
        try:
            made.enter_context(new_folder(folder))
            sweep(folder)
        except OSError as error:
            what = f"{folder} cannot be created: {error.strerror}."
            raise SbcdarkError(what, "Name another folder with -o.") from error
        yield


@dataclass(frozen=True, slots=True)
class ProductFiles:
    """Paths of the products of one target.

    Attributes
    ----------
    folder : Path
    name : str
        The association, or the first exposure of a list.
    """

    folder: Path
    name: str

    @property
    def science(self) -> Path:
        """The drizzled science image."""
        return self._named("drz.fits")

    @property
    def dark(self) -> Path:
        """The masterdark (SCI) and its error (ERR)."""
        return self._named("dark.fits")

    @property
    def net(self) -> Path:
        """Science minus dark (SCI), its error (ERR), and the weight (WHT)."""
        return self._named("net.fits")

    @property
    def photometry(self) -> Path:
        """The table of the apertures."""
        return self._named("phot.ecsv")

    @property
    def growth(self) -> Path:
        """The table of the curves of growth."""
        return self._named("growth.ecsv")

    @property
    def growth_picture(self) -> Path:
        """The picture of the curves of growth."""
        return self._named("growth.png")

    @property
    def log(self) -> Path:
        """The output of AstroDrizzle."""
        return self._named("drizzle.log")

    @property
    def picture(self) -> Path:
        """The picture of the science product and the masterdark."""
        return self._named("products.png")

    def exposure_picture(self, rootname: str) -> Path:
        """Return the path of the picture of one exposure and its dark."""
        return self._named(f"{rootname}.png")

    def fit_picture(self, rootname: str) -> Path:
        """Return the path of the picture of one exposure's fit: science, model, residual, profiles."""
        return self._named(f"{rootname}_fit.png")

    def there(self) -> list[Path]:
        """Return the existing products of this target, without the log, which a failed run leaves behind."""
        return sorted(path for path in self.folder.glob(f"{self.name}_sbcdark_*") if path != self.log)

    def _named(self, ending: str) -> Path:
        return self.folder / f"{self.name}_sbcdark_{ending}"


def joint_table(folder: Path) -> Path:
    """Return the path of the table that joins the photometry of all associations in a folder."""
    return folder / "sbcdark_phot.ecsv"


def inputs_key(
    exposures: Sequence[MatchValues], matches: Sequence[Match], options: BuildOptions, flats: Sequence[str | None]
) -> str:
    """Return a key of the inputs of products, except the apertures: 32 hexadecimal digits.

    Parameters
    ----------
    exposures : sequence of MatchValues
        With their files.
    matches : sequence of Match
        The darks chosen for each.
    flats : sequence of str or None
        The sha256 of each exposure's flat.
    """
    inputs: dict[str, Any] = {
        "version": SOFTWARE_VERSION,
        "exposures": [(one.rootname, _content(one.file)) for one in exposures],
        "darks": [[(dark.dark, _content(dark.file)) for dark in match.darks] for match in matches],
        "rules": [(match.rule, match.tier) for match in matches],
        "combine": options.combine.value,
        "flats": list(flats),
        "masks": [mask.text for mask in options.mask],
        "mixed": options.mixed,
    }
    if options.grid.changes():  # not part of the keys of earlier releases
        inputs["grid"] = options.grid.changes()
    return hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:32]


def _content(file: FileRecord | None) -> str | None:
    """Return a key of a file's content: its sha256, or else its URI, size and time."""
    if file is None:
        return None
    return file.sha256 or f"{file.uri} {file.size_byte} {file.mtime_ns} {file.etag}"


_GROWTH_CARD = "DRKGROW"


def aperture_cards(apertures: Sequence[ApertureSpec], growth: Sequence[float]) -> dict[str, str]:
    """Return the header cards of the apertures, and radii of growth, that are excluded from the fit of the dark."""
    cards = {_GROWTH_CARD: ",".join(f"{radius:g}" for radius in growth)} if growth else {}
    for number, aperture in enumerate(apertures, 1):
        cards[f"DRKA{number:03d}"] = aperture.text
        cards[f"DRKL{number:03d}"] = aperture.label
    return cards


def require_free(
    files: ProductFiles,
    key: str,
    apertures: Sequence[ApertureSpec],
    growth: Sequence[float],
    *,
    overwrite: bool,
    differ: Callable[[], str] = lambda: "",
) -> tuple[tuple[ApertureSpec, ...], tuple[float, ...]]:
    """Refuse to replace files made from other inputs, before any work is done.

    New apertures are added to products of the same inputs: all apertures are measured again, since the fit of the
    dark excludes all of them.

    Parameters
    ----------
    differ : callable
        Returns what differs from the inputs of the existing products, for the message.

    Returns
    -------
    apertures : tuple of ApertureSpec
        The apertures to measure: those of the existing products, then the new ones.
    growth : tuple of float
        The radii of growth, likewise, in ascending order.

    Raises
    ------
    UsageError
        A file exists that was made from other inputs or by another program, and `overwrite` is False.
    """
    there = files.there()
    if not there or overwrite:
        return tuple({aperture.text: aperture for aperture in apertures}.values()), tuple(sorted(set(growth)))
    cards = read_cards(files.science) if files.science.exists() else {}
    if cards.get(KEY_CARD) != key:
        why = f"was made from other inputs{differ()}" if KEY_CARD in cards else "already exists"
        shown = files.science if files.science in there else there[0]
        raise UsageError(f"{shown} {why}.", "Give another folder with -o, or --overwrite to replace the products.")
    both = tuple({aperture.text: aperture for aperture in (*_apertures(cards), *apertures)}.values())
    return both, tuple(sorted({*parse_growth(str(cards.get(_GROWTH_CARD) or "")), *growth}))


def parse_growth(text: str) -> tuple[float, ...]:
    """Return the radii of a curve of growth, written ``R1,R2,...``, in ascending order.

    Raises
    ------
    UsageError
        One is not a positive number.
    """
    try:
        radii = {float(f"{float(word):g}") for word in text.replace(",", " ").split()}
    except ValueError:
        radii = {-1.0}
    if not all(math.isfinite(radius) and radius > 0 for radius in radii):
        raise UsageError(
            f"--growth {text!r} is not a list of radii.",
            "Write e.g. --growth 5,10,20,40, in the unit of the aperture: pixels or arcsec.",
        )
    return tuple(sorted(radii))


def _apertures(cards: Mapping[str, Any]) -> list[ApertureSpec]:
    found = []
    number = 1
    while (text := cards.get(f"DRKA{number:03d}")) is not None:
        label = clean_label(str(cards.get(f"DRKL{number:03d}") or text))
        found.append(replace(parse_aperture(str(text)), label=label))
        number += 1
    return found

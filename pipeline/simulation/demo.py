"""The demonstration: a simulated archive with known truth, and the whole job done on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sbcdark.catalog.errors import SbcdarkError
from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.detector.constants import SCALE_ARCSEC
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.products.job import Job
from sbcdark.pipeline.products.options import BuildOptions, apertures_of
from sbcdark.pipeline.products.run import Outcome, make
from sbcdark.pipeline.simulation.files import write_simulated
from sbcdark.pipeline.simulation.simulated_archive import SimulatedArchive, simulate
from sbcdark.pipeline.views.product_pictures import draw_products

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sbcdark.pipeline.ingest.report import IngestReport
    from sbcdark.pipeline.simulation.simulated_archive import Association


@dataclass(frozen=True, slots=True)
class TrueNet:
    """What one aperture of the demonstration should hold, and what was measured, in drizzled count/s."""

    association: str
    source_count_s: float
    sky_count_s: float
    true_dark_count_s: float
    dark_count_s: float
    true_net_count_s: float
    net_count_s: float
    net_err_count_s: float
    sigma: float
    """(measured - true) / error."""


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What the demonstration did and where it is."""

    archive: Path
    catalog: str
    products: Path
    report: IngestReport
    outcomes: tuple[Outcome, ...]
    truth: tuple[TrueNet, ...]


def demonstrate(folder: Path, talk: Callable[[str], None] = lambda _: None) -> Demonstration:
    """Make a small simulated archive and do the whole job on it.

    Parameters
    ----------
    folder : Path
        Gets the folders ``archive`` and ``products`` and the file ``catalog.db``; made if it is not there. Run again,
        the same archive is written again and the catalog stays as it is.
    talk : callable
        Is told what goes on.

    Raises
    ------
    SbcdarkError
        The folder cannot be written, or a step failed.
    """
    archive = folder / "archive"
    products = folder / "products"
    try:
        archive.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SbcdarkError(f"{archive} cannot be made: {error.strerror}.", "Name another folder with -o.") from error
    simulated = simulate()
    talk(f"simulating {len(simulated.darks)} darks and {len(simulated.associations)} associations in {archive}")
    _write(simulated, archive)
    url = f"sqlite:///{folder / 'catalog.db'}"
    engine = open_catalog(url, create=True)
    talk(f"ingesting them into {folder / 'catalog.db'}")
    report = ingest(engine, [archive])
    outcomes: list[Outcome] = []
    for association in simulated.associations:
        job = Job(
            products,
            BuildOptions(flat=archive),
            apertures_of([association.aperture], None),
            pictures=True,
            draw=draw_products,
        )
        outcomes += make(engine, [association.name], job, talk=talk)
    failure = next((outcome.failure for outcome in outcomes if outcome.failure is not None), None)
    if failure is not None:
        raise failure
    truth = tuple(_compared(one, outcome) for one, outcome in zip(simulated.associations, outcomes, strict=True))
    return Demonstration(archive, url, products, report, tuple(outcomes), truth)


def _write(simulated: SimulatedArchive, archive: Path) -> None:
    for file in simulated.files():
        path = archive / file.name
        if not path.exists():
            write_simulated(path, file)


def _compared(association: Association, outcome: Outcome) -> TrueNet:
    measured = outcome.photometry[0]
    # What is subtracted is the dark alone: the sky of the simulation stays in the net rate. It is a surface
    # brightness, so that it has the same rate per drizzled as per native pixel.
    aperture = apertures_of([association.aperture], None)[0]
    sky = association.sky_count_s_pix * math.pi * aperture.a * aperture.b / SCALE_ARCSEC**2
    net = association.aperture_source_count_s + sky
    return TrueNet(
        association.name,
        association.aperture_source_count_s,
        sky,
        association.aperture_dark_count_s,
        measured.dark_count_s,
        net,
        measured.net_count_s,
        measured.net_err_count_s,
        (measured.net_count_s - net) / measured.net_err_count_s,
    )

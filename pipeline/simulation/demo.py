"""The demonstration: the whole job on a simulated archive with known truth."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sbcdark.catalog.errors import SbcdarkError
from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.detector.constants import SCALE_ARCSEC
from sbcdark.pipeline.estimation.options import BuildOptions, apertures_of
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.pages.report import write_report
from sbcdark.pipeline.products.job import Job
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
    """True and measured values of one aperture of the demonstration, in drizzled count/s."""

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
    """The results of the demonstration and their places."""

    archive: Path
    catalog: str
    products: Path
    report: IngestReport
    outcomes: tuple[Outcome, ...]
    pages: Path
    """The index of the report."""
    truth: tuple[TrueNet, ...]


def demonstrate(folder: Path, talk: Callable[[str], None] = lambda _: None) -> Demonstration:
    """Simulate a small archive and run the whole job on it.

    Parameters
    ----------
    folder : Path
        Receives the folders ``archive``, ``products`` and ``report`` and the file ``catalog.db``; created if missing. A
        second run writes the same archive and leaves the catalog unchanged.
    talk : callable
        Called with progress messages.

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
        raise SbcdarkError(f"Cannot create {archive}: {error.strerror}.", "Give another folder with -o.") from error
    simulated = simulate()
    talk(f"simulating {len(simulated.darks)} darks and {len(simulated.associations)} associations in {archive}")
    _write(simulated, archive)
    url = f"sqlite:///{folder / 'catalog.db'}"
    engine = open_catalog(url, create=True)
    talk(f"ingesting the files into {folder / 'catalog.db'}")
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
    talk(f"writing pages into {folder / 'report'}")
    pages = write_report(engine, folder / "report", overwrite=True)
    return Demonstration(archive, url, products, report, tuple(outcomes), pages.index, truth)


def _write(simulated: SimulatedArchive, archive: Path) -> None:
    for file in simulated.files():
        path = archive / file.name
        if not path.exists():
            write_simulated(path, file)


def _compared(association: Association, outcome: Outcome) -> TrueNet:
    measured = outcome.photometry[0]
    # Only the dark is subtracted: the sky of the simulation stays in the net rate. It is a surface brightness, so it
    # has the same rate per drizzled as per native pixel.
    aperture = apertures_of([association.aperture], None)[0]
    sky = association.sky_count_s_pix * math.pi * math.prod(aperture.sizes) / SCALE_ARCSEC**2
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

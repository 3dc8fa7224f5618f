"""The whole job for one or many associations, in parallel; a failure does not affect the others."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from threading import Event, Lock
from typing import TYPE_CHECKING

from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import SbcdarkError, UsageError
from sbcdark.catalog.opening import as_engine
from sbcdark.catalog.roots import uri_of
from sbcdark.catalog.text import listed
from sbcdark.catalog.workspace import flush_beside, locked, publish, workspace
from sbcdark.pipeline.archive.cluster import cluster, worker_lost
from sbcdark.pipeline.drizzling.drizzle import Drizzler
from sbcdark.pipeline.frames.fits_output import write_dark_product, write_net_product, write_science_product
from sbcdark.pipeline.frames.untrusted_fits import local_path
from sbcdark.pipeline.products import photometry
from sbcdark.pipeline.products.earlier_products import earlier_products
from sbcdark.pipeline.products.masterdark import build, plan_build, prepare
from sbcdark.pipeline.products.photometry_tables import join_tables, table_meta, write_growth, write_photometry
from sbcdark.pipeline.products.product_files import ProductFiles, made_folder
from sbcdark.pipeline.products.provenance import command_line, dark_tables, product_history, provenance
from sbcdark.pipeline.products.stored_results import record
from sbcdark.pipeline.products.workers import start_imports, submitting, worker_pool
from sbcdark.pipeline.selection.names import Target, resolve_target
from sbcdark.pipeline.selection.rules import Combine

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import sqlalchemy as sa
    from astropy.io.fits import BinTableHDU

    from sbcdark.catalog.progress import Progress
    from sbcdark.catalog.result_records import PhotometryRecord
    from sbcdark.pipeline.products.job import Job
    from sbcdark.pipeline.products.masterdark import Plan
    from sbcdark.pipeline.products.photometry import GrowthPoint
    from sbcdark.pipeline.products.records import Built, Masterdark
    from sbcdark.pipeline.selection.names import Selector

Talk = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one target.

    Attributes
    ----------
    name : str
        The association, or the first exposure of a list.
    masterdark : Masterdark or None
        None if it failed.
    photometry : tuple of PhotometryRecord
        One per aperture.
    table : Path or None
        The photometry table.
    growth : tuple of GrowthPoint
        The curves of growth.
    growth_table : Path or None
        The table of the curves of growth.
    pictures : tuple of Path
        PNG files.
    reused : bool
        Whether the products and their table were there already, with the same inputs and apertures, and are unchanged.
    warnings : tuple of str
        Possible problems of the results.
    failure : SbcdarkError or None
        Why it failed.
    """

    name: str
    masterdark: Masterdark | None = None
    photometry: tuple[PhotometryRecord, ...] = ()
    table: Path | None = None
    growth: tuple[GrowthPoint, ...] = ()
    growth_table: Path | None = None
    pictures: tuple[Path, ...] = ()
    reused: bool = False
    warnings: tuple[str, ...] = ()
    failure: SbcdarkError | None = None


def make(
    catalog: sa.Engine | str | Path,
    names: Selector | Sequence[str],
    job: Job,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    talk: Talk = lambda _: None,
    progress: Progress | None = None,
) -> list[Outcome]:
    """Process associations and exposures.

    Parameters
    ----------
    catalog : Engine, str or Path
        The catalog.
    names : Selector or sequence of str
        Associations, one target each; all single exposures together form one more target.
    workers : int, optional
        Targets processed at once, in processes of their own; by default one per core. 1: in this process.
    scheduler : str, optional
        Address of the scheduler of a Dask cluster, whose workers process the targets instead.
    talk : callable
        Called with one line of text for each finished target.
    progress : callable, optional
        Called with the number of finished targets and their total, at the start with 0.

    Returns
    -------
    list of Outcome
        One per target, in order; failures are in `failure`.

    Raises
    ------
    UsageError
        A name is unknown, or a dark is forced for an exposure that is not among the targets.
    SbcdarkError
        The folder cannot be created.
    """
    if workers != 1 and scheduler is None:
        start_imports()
    engine = as_engine(catalog)
    with reading(engine) as session:
        targets = resolve_target(session, names)
    asked = {rootname for target in targets for rootname in target.exposures}
    for rootname in job.options.use:
        if rootname not in asked:
            raise UsageError(
                f"--use names {rootname}, which is not among the exposures.", f"They are: {', '.join(sorted(asked))}."
            )
    job = replace(job, command=command_line(sys.argv))
    advance = progress or (lambda _done, _total: None)
    advance(0, len(targets))
    done: dict[str, Outcome] = {}

    def tell(found: Iterable[Outcome]) -> None:
        for outcome in found:
            done[outcome.name] = outcome
            if outcome.failure is None or len(targets) > 1:  # that of a single target is the error of the command
                talk(_line(outcome, job))
            advance(len(done), len(targets))

    with made_folder(job.folder):
        if workers == 1 and scheduler is None:
            with Drizzler() as drizzler:
                tell(_contained(engine, target, job, drizzler) for target in targets)
        else:
            tell(_unchanged(engine, targets, job))
            tell(_by_workers(engine, targets[len(done) :], job, workers, scheduler))
        return _joined([done[target.name] for target in targets], job.folder, talk)


def _by_workers(
    engine: sa.Engine, targets: Sequence[Target], job: Job, workers: int | None, scheduler: str | None
) -> Iterator[Outcome]:
    """Yield the outcomes of targets as workers finish them."""
    if not targets:
        return
    url = engine.url.render_as_string(hide_password=False)
    size = min(workers or os.cpu_count() or 1, len(targets))
    with worker_pool(size) if scheduler is None else cluster(scheduler) as executor, ThreadPoolExecutor(1) as beside:
        started = Event()
        if job.options.combine is Combine.MODEL and scheduler is None:
            beside.submit(_prepare, engine, targets, job, started)
        try:
            with submitting():  # it waits for the workers' libraries
                waiting = {executor.submit(_in_worker, url, target, *_portable(job)): target for target in targets}
        finally:
            started.set()
        import astropy.table  # noqa: F401, PLC0415  it joins the tables in the end: costly, and here beside other work

        for future in as_completed(waiting):
            name = waiting[future].name
            try:
                yield _in_folder(future.result(), job.folder)
            except worker_lost():
                # A killed worker (out of memory, say) breaks the pool: the remaining targets are reported as failed.
                what = f"The process for {name} ended unexpectedly."
                yield Outcome(name, failure=SbcdarkError(what, "Run it with --workers 1."))


def _unchanged(engine: sa.Engine, targets: Sequence[Target], job: Job) -> Iterator[Outcome]:
    """Yield the outcomes of the first targets that need not be made again: no worker has to start for them."""
    for target in targets:
        files = ProductFiles(job.folder, target.name)
        if job.overwrite or not files.science.exists():  # the choice of darks takes as long as the start of a worker
            return
        try:
            outcome = _earlier(engine, plan_build(engine, target, job), job, files)
        except (SbcdarkError, OSError):  # a worker meets it again, and tells
            return
        if outcome is None:
            return
        yield outcome


def _prepare(engine: sa.Engine, targets: Sequence[Target], job: Job, started: Event) -> None:
    """Make the templates of the first target, and of more until the workers have imported their libraries."""
    for number, target in enumerate(targets):
        if number and started.is_set():
            return
        with suppress(SbcdarkError, OSError):
            plan = plan_build(engine, target, job)
            if _earlier(engine, plan, job, ProductFiles(job.folder, target.name)) is None:
                prepare(plan, job)


def _portable(job: Job) -> tuple[Job, str, str | None]:
    """Return a job with the URIs of its folder and of its flats, which another machine may have at other places."""
    flat = job.options.flat
    return job, uri_of(job.folder.resolve()), None if flat is None else uri_of(flat.resolve())


def _in_folder(outcome: Outcome, folder: Path) -> Outcome:
    """Return the outcome of a worker with the paths of this machine."""
    made = outcome.masterdark
    if made is not None:
        science, dark, net = (folder / path.name for path in (made.science, made.masterdark, made.net))
        made = replace(made, science=science, masterdark=dark, net=net)
    table, growth = (None if path is None else folder / path.name for path in (outcome.table, outcome.growth_table))
    pictures = tuple(folder / path.name for path in outcome.pictures)
    return replace(outcome, masterdark=made, table=table, growth_table=growth, pictures=pictures)


def _joined(outcomes: list[Outcome], folder: Path, talk: Talk) -> list[Outcome]:
    """Join the photometry of the associations in a folder, and say where it is or why it cannot be done."""
    if not any(outcome.photometry for outcome in outcomes):
        return outcomes
    with locked(folder):
        path, warning = join_tables(folder)
    if path is not None:
        talk(f"photometry of all associations in the folder: {path}")
    if warning is None:
        return outcomes
    return [*outcomes[:-1], replace(outcomes[-1], warnings=(*outcomes[-1].warnings, warning))]


def _line(outcome: Outcome, job: Job) -> str:
    if outcome.failure is not None:
        return f"{outcome.name}: failed: {outcome.failure.what}"
    asked = {one.own_text for one in job.apertures}
    more = [one.aperture for one in outcome.photometry if asked and one.shape not in asked]
    too = f"; with earlier apertures: {listed(more)} (--overwrite drops them)" if more else ""
    if outcome.reused:
        what = "products and photometry" if outcome.photometry else "products"
        return f"{outcome.name}: nothing has changed; {what} are those in the folder{too}"
    made = [word for word, there in (("photometry", outcome.photometry), ("pictures", outcome.pictures)) if there]
    return f"{outcome.name}: {', '.join(['science product', 'masterdark', *made])}{too}"


_engine = lru_cache(maxsize=1)(as_engine)


_one_at_a_time = Lock()
"""AstroDrizzle works in the current folder and prints; a worker of a cluster may have several threads."""


def _in_worker(url: str, target: Target, job: Job, folder: str, flat: str | None) -> Outcome:
    try:
        options = replace(job.options, flat=None if flat is None else local_path(flat))
        here = replace(job, folder=local_path(folder), options=options)
    except SbcdarkError as error:
        return Outcome(target.name, failure=error)
    with _one_at_a_time:
        return _contained(_engine(url), target, here, Drizzler(here=True))


def _contained(engine: sa.Engine, target: Target, job: Job, drizzler: Drizzler) -> Outcome:
    try:
        return _process(engine, target, job, drizzler)
    except SbcdarkError as error:
        return Outcome(target.name, failure=error)
    except Exception as error:
        if os.environ.get("SBCDARK_DEBUG"):
            raise
        what = f"{target.name}: this should not have happened: {type(error).__name__}: {error}."
        return Outcome(
            target.name, failure=SbcdarkError(what, "Set SBCDARK_DEBUG=1, run it again and report what it prints.")
        )


def _process(engine: sa.Engine, target: Target, job: Job, drizzler: Drizzler) -> Outcome:
    """Make all products of one target in a workspace, publish them, then record them.

    In this order a kill can leave products that are not recorded, which can be made again, but never rows of missing
    products.
    """
    files = ProductFiles(job.folder, target.name)
    plan = plan_build(engine, target, job)
    earlier = _earlier(engine, plan, job, files)
    if earlier is not None:
        return earlier
    try:
        with workspace(job.folder) as work:
            built = build(engine, target, work, job, drizzler, plan=plan)
            records, growth, notes = photometry.measure(built)
            warnings = tuple(dict.fromkeys([*job.notes, *job.options.notes, *built.masterdark.warnings, *notes]))
            write_products(built, work, job.command)
            names = [files.science.name, files.dark.name, files.net.name]
            flush_beside([work / name for name in names])
            meta = table_meta(built, job.options, warnings)
            if records:
                write_photometry(work / files.photometry.name, records, meta)
                names.append(files.photometry.name)
            if growth:
                write_growth(work / files.growth.name, growth, meta)
                names.append(files.growth.name)
            # Existing pictures of the same inputs are drawn again with the added apertures.
            wanted = job.pictures or (files.picture.exists() and not job.overwrite)
            pictures = job.draw(built, ProductFiles(work, target.name)) if wanted and job.draw is not None else ()
            if growth and job.draw_growth is not None:
                job.draw_growth(work / files.growth_picture.name, growth)
                pictures = (*pictures, files.growth_picture.name)
            names += pictures
            replaced = [path.name for path in files.there()] if job.overwrite else []
            with locked(job.folder):
                publish(work, job.folder, names, replaced)
                built = record(engine, target, job.options, built, records, warnings)
    except OSError as error:
        raise SbcdarkError(
            f"{job.folder} cannot be written: {error.strerror or error}.",
            "Free some space there, or name another folder with -o.",
        ) from error
    return Outcome(
        target.name,
        built.masterdark,
        tuple(records),
        files.photometry if records else None,
        tuple(growth),
        files.growth if growth else None,
        tuple(job.folder / picture for picture in pictures),
        warnings=warnings,
    )


def _earlier(engine: sa.Engine, plan: Plan, job: Job, files: ProductFiles) -> Outcome | None:
    """Return the outcome of a run that would make what is in the folder; None if it has to be made."""
    earlier = earlier_products(engine, plan, job, files)
    if earlier is None:
        return None
    return Outcome(
        files.name,
        earlier.masterdark,
        earlier.photometry,
        files.photometry if earlier.photometry else None,
        earlier.growth,
        files.growth if earlier.growth else None,
        earlier.pictures,
        reused=True,
        warnings=tuple(dict.fromkeys([*job.notes, *job.options.notes, *earlier.masterdark.warnings])),
    )


def write_products(built: Built, folder: Path, command: str = "") -> None:
    """Write the science product, the masterdark and the net product into a folder, under their final names.

    Parameters
    ----------
    command : str
        The command that makes them, for the headers.

    Raises
    ------
    SbcdarkError
        They cannot be written.
    """
    cards, made, drizzled = provenance(built), built.masterdark, built.product.hdus
    science, dark, net = (product_history(built, kind, command) for kind in ("science", "dark", "net"))
    write_science_product(folder / made.science.name, drizzled, built.product.science, cards, science)
    write_dark_product(
        folder / made.masterdark.name, drizzled, built.dark, built.dark_error, cards, dark, _tables(built)
    )
    subtracted = cards | {"DARKCORR": "COMPLETE", "DARKFILE": made.masterdark.name}
    write_net_product(folder / made.net.name, drizzled, built.net, built.net_error, subtracted, net, _tables(built))


def _tables(built: Built) -> list[BinTableHDU]:
    return dark_tables(built.matches, built.estimate.exposures)

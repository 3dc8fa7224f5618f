"""The class `Catalog`, used by notebooks and by the command line: each method is one job of sbcdark."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, overload

from sbcdark.catalog import opening, records
from sbcdark.catalog.engine import default_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    import sqlalchemy as sa
    from astropy.table import QTable

    from sbcdark.catalog.overview import Overview
    from sbcdark.pipeline.ingest.fetch import FetchReport, Talk
    from sbcdark.pipeline.ingest.programs import DarkProgram
    from sbcdark.pipeline.ingest.relocation import Relocation
    from sbcdark.pipeline.ingest.report import IngestReport, Progress
    from sbcdark.pipeline.ingest.verification import Verification
    from sbcdark.pipeline.model.validation import Validation
    from sbcdark.pipeline.products.aperture_preview import Outlook
    from sbcdark.pipeline.products.apertures import ApertureSpec
    from sbcdark.pipeline.products.exposure_dark import DarkOfExposure
    from sbcdark.pipeline.products.options import BuildKeywords
    from sbcdark.pipeline.products.records import Masterdark
    from sbcdark.pipeline.products.replay import Replayed
    from sbcdark.pipeline.products.run import Outcome
    from sbcdark.pipeline.products.subtraction import Subtracted
    from sbcdark.pipeline.selection.changes import Change
    from sbcdark.pipeline.selection.reasons import Explanation
    from sbcdark.pipeline.selection.rules import Requirements, Rule

    Names = str | Iterable[str]
    Several = list[str] | tuple[str, ...]
    Folder = str | Path
    Apertures = str | ApertureSpec | Iterable[str | ApertureSpec]


class MatchKeywords(TypedDict, total=False):
    """Options of a match: see `Catalog.match`."""

    rule: str | Rule
    top: int
    max_sigma: float | None
    max_days: float | None
    min_exptime_s: float


class ExposureKeywords(TypedDict, total=False):
    """Options of a listing: see `Catalog.exposures`."""

    program: int | None
    filter: str | None
    hot: bool
    temperature_c: tuple[float | None, float | None]
    since: datetime | None
    until: datetime | None
    quality: str | None
    sort: str
    descending: bool


@dataclass(frozen=True, slots=True)
class Match(records.Match):
    """The ranked darks of one exposure."""

    @property
    def table(self) -> QTable:
        """The darks with every term of the score; differences are science minus dark."""
        from sbcdark.pipeline.frames.tables import to_qtable  # noqa: PLC0415  astropy is slow to import

        columns = [column.name for column in fields(records.ScoredDark) if column.name not in {"file", "file_id"}]
        return to_qtable([asdict(dark) for dark in self.darks], columns)


@dataclass(frozen=True, slots=True)
class Products:
    """The products of one association.

    Attributes
    ----------
    outcome : Outcome
        The records of the run: products, members, photometry, warnings, failure.
    """

    outcome: Outcome

    @property
    def photometry(self) -> QTable:
        """One row per aperture, with units."""
        from sbcdark.pipeline.frames.tables import PHOTOMETRY_KEYS, to_qtable  # noqa: PLC0415

        return to_qtable([asdict(record) for record in self.outcome.photometry], PHOTOMETRY_KEYS)

    @property
    def science(self) -> Path:
        """The drizzled science product."""
        return self._made.science

    @property
    def masterdark(self) -> Path:
        """The drizzled dark on the same pixels, SCI and ERR."""
        return self._made.masterdark

    @property
    def net(self) -> Path:
        """Science minus dark on the same pixels, SCI, ERR and WHT."""
        return self._made.net

    @property
    def pictures(self) -> tuple[Path, ...]:
        """The pictures (PNG)."""
        return self.outcome.pictures

    @property
    def warnings(self) -> tuple[str, ...]:
        """What to know before trusting the numbers."""
        return self.outcome.warnings

    @property
    def _made(self) -> Masterdark:
        if self.outcome.masterdark is None:
            assert self.outcome.failure is not None  # noqa: S101  an outcome without products has a failure
            raise self.outcome.failure
        return self.outcome.masterdark


@dataclass(frozen=True, slots=True)
class Status:
    """Where the catalog is, its size (of a SQLite file), and what it holds."""

    catalog: str
    size_byte: int | None
    overview: Overview


class Catalog:
    """A catalog of SBC exposures, and the jobs that use it.

    Nothing is opened before the first call. `ingest` and `fetch` create the catalog if it does not exist.

    Parameters
    ----------
    catalog : str, Path or Engine, optional
        Path of a SQLite file, URL (``sqlite:///path``, ``postgresql://host/name``), or SQLAlchemy engine. By default
        the catalog of the environment variable ``SBCDARK_DB``, else the one in the user's data folder.

    Raises
    ------
    TypeError
        `catalog` is none of these.

    Notes
    -----
    Every method raises an `sbcdark.catalog.errors.SbcdarkError`, which says what happened, why, and what to do:
    `UnreachableError` if the catalog cannot be reached, `SchemaError` if its schema is not this release's,
    `UsageError` for an unknown name or a bad option.
    """

    def __init__(self, catalog: str | Path | sa.Engine | None = None) -> None:
        self._engine: sa.Engine | None = None
        if catalog is None or isinstance(catalog, str | Path):
            self.url = opening.url_of(default_url() if catalog is None else catalog)
        elif hasattr(catalog, "connect"):
            self._engine = catalog
            self.url = catalog.url.render_as_string(hide_password=False)
        else:
            raise TypeError(f"catalog: expected a path, a URL or an engine, got {type(catalog).__name__}")

    def __repr__(self) -> str:
        """Show the catalog's address without the password."""
        from sbcdark.catalog.engine import redacted  # noqa: PLC0415

        return f"Catalog({redacted(self.url)!r})"

    @property
    def engine(self) -> sa.Engine:
        """The SQLAlchemy engine, opened once."""
        return self._opened(create=False)

    def _opened(self, *, create: bool) -> sa.Engine:
        if self._engine is None:
            self._engine = opening.open_catalog(self.url, create=create)
        return self._engine

    def _to_fill(self, *, dry_run: bool) -> sa.Engine | None:
        """Open the catalog, created if missing; a dry run creates none and gets None."""
        if not dry_run or self._engine is not None:
            return self._opened(create=True)
        return opening.catalog_if_any(self.url)

    # Filling

    def ingest(
        self,
        paths: Folder | Iterable[Folder],
        *,
        workers: int | None = None,
        checksum: bool = True,
        dry_run: bool = False,
        progress: Progress | None = None,
    ) -> IngestReport:
        """Read RAW, FLT and ASN files into the catalog. Running it again changes nothing.

        Parameters
        ----------
        paths : str, Path or iterable of these
            Files, folders, ``https://`` and ``s3://`` addresses.
        workers : int, optional
            Reading processes; by default one per core.
        checksum : bool
            Store each file's sha256, to recognize the file later.
        dry_run : bool
            Read and report; write nothing.
        progress : callable, optional
            Called with the number of finished files and the total.

        Returns
        -------
        IngestReport
            It includes rejected files; they raise nothing.
        """
        from sbcdark.pipeline.ingest.ingestion import ingest  # noqa: PLC0415  each job loads what it needs

        engine = self._to_fill(dry_run=dry_run)
        given: list[str | Path] = [paths] if isinstance(paths, str | Path) else list(paths)
        return ingest(engine, given, workers=workers, checksum=checksum, dry_run=dry_run, progress=progress)

    def fetch(
        self,
        program: int | None = None,
        *,
        update: bool = False,
        visit: str | None = None,
        darks: bool = True,
        science: bool = True,
        since: datetime | None = None,
        renew: bool = False,
        folder: Folder | None = None,
        dry_run: bool = False,
        talk: Talk | None = None,
    ) -> FetchReport:
        """Get new files from MAST and ingest them.

        Parameters
        ----------
        program : int, optional
            The program; restricted to one `visit`, to its `darks`, its `science`, or both.
        update : bool
            Instead of a program: all darks that are new at the archive; with `since`, also those started since then.
        renew : bool
            Also get local files that differ from the archive's.
        folder : str or Path, optional
            Folder for the files; by default in the user's data folder.
        dry_run : bool
            Report the files to fetch; get nothing.
        talk : Talk, optional
            How to show progress.
        """
        from sbcdark.catalog.errors import UsageError  # noqa: PLC0415  each job loads what it needs
        from sbcdark.pipeline.ingest import fetch, programs  # noqa: PLC0415

        if update == (program is not None):
            raise UsageError(
                "Give a program or ask for an update, not both.",
                "Run: sbcdark fetch --program N [--visit V], or sbcdark fetch --update",
            )
        options = fetch.FetchOptions(None if folder is None else Path(folder), dry_run, renew, talk or fetch.Talk())
        engine = self._to_fill(dry_run=dry_run)
        if program is None:
            return programs.fetch_update(engine, options, since=since)
        return fetch.fetch_program(engine, program, options, visit=visit, darks=darks, science=science)

    def programs(self, *, near: str | None = None) -> list[DarkProgram]:
        """List the programs with SBC darks at MAST, and how many of their darks are in the catalog.

        Parameters
        ----------
        near : str, optional
            An exposure in the catalog: programs are sorted by distance in time from it.
        """
        from sbcdark.pipeline.ingest.programs import programs  # noqa: PLC0415  each job loads what it needs

        return programs(self._opened(create=near is None), near=near)

    # Listing

    def exposures(self, kind: str | None = None, **wanted: Unpack[ExposureKeywords]) -> QTable:
        """List exposures.

        Parameters
        ----------
        kind : {"dark", "science"}, optional
            Both by default.
        program, filter, quality : optional
            Only this program, filter or quality (good, suspect, untested, retired).
        hot : bool
            Only mean temperatures above 25 C.
        temperature_c : (float or None, float or None)
            Range of the mean temperature, C.
        since, until : datetime, optional
            Range of the start, UTC.
        sort : str
            Name of a column; `descending` reverses the order.

        Returns
        -------
        QTable
            With units and times; empty if nothing is found.
        """
        from sbcdark.pipeline.frames.tables import to_qtable  # noqa: PLC0415  astropy is slow to import

        columns = [column.name for column in fields(records.ExposureRecord)]
        return to_qtable([asdict(record) for record in self.list_exposures(kind, **wanted)], columns)

    def darks(self, **wanted: Unpack[ExposureKeywords]) -> QTable:
        """List darks: see `exposures`."""
        return self.exposures("dark", **wanted)

    def list_exposures(
        self, kind: str | None = None, **wanted: Unpack[ExposureKeywords]
    ) -> list[records.ExposureRecord]:
        """List exposures as records: see `exposures`."""
        from sbcdark.catalog.queries import ExposureFilter  # noqa: PLC0415  each job loads what it needs
        from sbcdark.pipeline.views.listings import exposures  # noqa: PLC0415

        given: dict[str, Any] = dict(wanted)
        order = {key: given.pop(key) for key in ("sort", "descending") if key in given}
        return exposures(self.engine, ExposureFilter(kind, **given), **order)

    def status(self) -> Status:
        """Return the catalog at a glance; nothing is asked of the archive."""
        from sbcdark.catalog.engine import reading, redacted  # noqa: PLC0415  each job loads what it needs
        from sbcdark.catalog.overview import overview  # noqa: PLC0415
        from sbcdark.catalog.queries import HOT_ABOVE_C  # noqa: PLC0415

        with reading(self.engine) as session:
            seen = overview(session, hot_above_c=HOT_ABOVE_C)
        database = self.engine.url.database if self.engine.dialect.name == "sqlite" else None
        size = Path(database).stat().st_size if database else None
        return Status(redacted(self.url), size, seen)

    def show(self, name: str) -> dict[str, Any]:
        """Return everything known about an exposure (files, measurements, selections) or an association (members)."""
        from sbcdark.pipeline.views.listings import show  # noqa: PLC0415  each job loads what it needs

        return show(self.engine, name)

    # Selecting

    @overload
    def match(self, names: str, *, save: bool = ..., **wanted: Unpack[MatchKeywords]) -> Match: ...
    @overload
    def match(
        self,
        names: Several = ...,
        *,
        program: int | None = ...,
        association: str | None = ...,
        save: bool = ...,
        **wanted: Unpack[MatchKeywords],
    ) -> list[Match]: ...
    def match(
        self,
        names: Names = (),
        *,
        program: int | None = None,
        association: str | None = None,
        save: bool = False,
        **wanted: Unpack[MatchKeywords],
    ) -> Match | list[Match]:
        """Rank the darks that fit each exposure, with every term of the score.

        Parameters
        ----------
        names : str or iterable of str
            Exposures, or associations, which stand for their exposures.
        program, association : optional
            Also all exposures of a program or an association.
        rule : {"glow", "box", "temperature", "notebook"}
            The quantity that is compared.
        top : int
            Largest number of darks, 5 by default.
        max_sigma : float, optional
            Largest difference in sigma; by default the ladder 2, 5, any.
        max_days : float, optional
            Largest separation in time, days.
        min_exptime_s : float
            Shortest exposure time of a dark, s; 300 by default.
        save : bool
            Store the selections.

        Returns
        -------
        Match or list of Match
            One `Match` for the name of one exposure, else a list. A match without darks has the tier ``none``.
        """
        from sbcdark.pipeline.selection import choice  # noqa: PLC0415  each job loads what it needs

        rule, requirements = _requirements(wanted)
        found = choice.match(
            self.engine,
            _names(names),
            program=program,
            association=association,
            rule=rule,
            wanted=requirements,
            save=save,
        )
        values = [column.name for column in fields(records.Match)]
        matches = [Match(**{name: getattr(one, name) for name in values}) for one in found]
        alone = isinstance(names, str) and program is None and association is None and len(matches) == 1
        return matches[0] if alone else matches

    def why(self, exposure: str, dark: str, **wanted: Unpack[MatchKeywords]) -> Explanation:
        """Explain why a dark is selected for an exposure or not, and what would admit it. Options as for `match`."""
        from sbcdark.pipeline.selection.reasons import why  # noqa: PLC0415  each job loads what it needs

        rule, requirements = _requirements(wanted)
        return why(self.engine, exposure, dark, rule=rule, wanted=requirements)

    def advice(self, names: Names) -> str:
        """Return what to do if no dark fits some exposures."""
        from sbcdark.pipeline.selection.suggestions import advice  # noqa: PLC0415  each job loads what it needs

        return advice(self.engine, _names(names))

    def preview(
        self,
        matches: Sequence[records.Match],
        apertures: Apertures,
        *,
        flat: Folder | None = None,
        **wanted: Unpack[MatchKeywords],
    ) -> tuple[list[Outlook], list[str]]:
        """Return the expected dark residuals in apertures for each dark of some matches, and warnings."""
        from sbcdark.pipeline.products.aperture_preview import outlook  # noqa: PLC0415  each job loads what it needs

        rule, requirements = _requirements(wanted)
        specs = _apertures(apertures, None)
        return outlook(
            self.engine, matches, specs, rule=rule, wanted=requirements, flat=None if flat is None else Path(flat)
        )

    # Products

    def dark(self, exposure: str, **options: Unpack[BuildKeywords]) -> DarkOfExposure:
        """Estimate the dark of one exposure; nothing is written.

        Parameters
        ----------
        exposure : str
            A science exposure in the catalog.
        **options
            As for `run`.

        Returns
        -------
        DarkOfExposure
            `rate` and `error` (1024 x 1024, count/s/pixel on the detector), `base`, `amplitude`, `sky`, `covariance`.
        """
        from sbcdark.pipeline.products.exposure_dark import dark_of_exposure  # noqa: PLC0415
        from sbcdark.pipeline.products.options import build_options  # noqa: PLC0415  each job loads what it needs

        return dark_of_exposure(self.engine, exposure, build_options(**options))

    @overload
    def run(
        self,
        names: str,
        folder: Folder,
        *,
        apertures: Apertures = ...,
        regions: Folder | None = ...,
        sky: str | None = ...,
        pictures: bool = ...,
        overwrite: bool = ...,
        workers: int | None = ...,
        talk: Callable[[str], None] = ...,
        **options: Unpack[BuildKeywords],
    ) -> Products: ...
    @overload
    def run(
        self,
        names: Several,
        folder: Folder,
        *,
        apertures: Apertures = ...,
        regions: Folder | None = ...,
        sky: str | None = ...,
        pictures: bool = ...,
        overwrite: bool = ...,
        workers: int | None = ...,
        talk: Callable[[str], None] = ...,
        **options: Unpack[BuildKeywords],
    ) -> list[Products]: ...
    def run(
        self,
        names: Names,
        folder: Folder,
        *,
        apertures: Apertures = (),
        regions: Folder | None = None,
        sky: str | None = None,
        pictures: bool = True,
        overwrite: bool = False,
        workers: int | None = None,
        talk: Callable[[str], None] = lambda _: None,
        **options: Unpack[BuildKeywords],
    ) -> Products | list[Products]:
        """Make the science product, the masterdark, the photometry and the pictures of associations.

        Parameters
        ----------
        names : str or iterable of str
            Associations; all single exposures together form one more target.
        folder : str or Path
            Folder for the products.
        apertures : str, ApertureSpec or iterable of these
            Apertures to measure: ``circle:x,y,r``, ``ellipse@ra,dec,a,b,pa``, ...
        regions : str or Path, optional
            A file of DS9 regions as additional apertures.
        sky : str, optional
            The sky to subtract: ``fit`` (the default with the model), ``annulus:R_IN,R_OUT`` in product pixels,
            ``annulus@R_IN,R_OUT`` in arcsec, or ``none``.
        pictures : bool
            Draw the pictures.
        overwrite : bool
            Replace products made from other inputs.
        workers : int, optional
            Associations at once; by default one per core.
        talk : callable
            Called with a message for each finished association.
        **options
            `combine`, `rule`, `top`, `use`, `flat`, `mask`, `max_sigma`, `max_days`, `min_exptime_s`, `mixed`: see
            `sbcdark.pipeline.products.options.build_options`.

        Returns
        -------
        Products or list of Products
            One for a single name, whose failure is raised; else a list. In a list, a failure affects only its own
            target
            and is in its `outcome`.
        """
        from sbcdark.pipeline.products.job import Job  # noqa: PLC0415  each job loads what it needs
        from sbcdark.pipeline.products.options import build_options  # noqa: PLC0415  each job loads what it needs
        from sbcdark.pipeline.products.run import make  # noqa: PLC0415
        from sbcdark.pipeline.products.sky import parse_sky  # noqa: PLC0415
        from sbcdark.pipeline.views.product_pictures import draw_products  # noqa: PLC0415

        built = build_options(**options)
        specs = _apertures(apertures, regions)
        job = Job(Path(folder), built, specs, pictures, draw_products, parse_sky(sky, built.combine), overwrite)
        outcomes = make(self.engine, _names(names), job, workers=workers, talk=talk)
        if not isinstance(names, str):
            return [Products(outcome) for outcome in outcomes]
        (outcome,) = outcomes
        if outcome.failure is not None:
            raise outcome.failure
        return Products(outcome)

    def subtract(
        self,
        names: Names,
        folder: Folder,
        *,
        sky: bool = False,
        overwrite: bool = False,
        **options: Unpack[BuildKeywords],
    ) -> list[Subtracted]:
        """Write the dark-subtracted FLT and the dark in detector pixels of each exposure.

        Parameters
        ----------
        names : str or iterable of str
            Associations or exposures, of any filter or prism.
        folder : str or Path
            Folder for ``ROOTNAME_flt.fits`` and ``ROOTNAME_drk.fits``; never the folder of the inputs.
        sky : bool
            Subtract the fitted sky, too.
        overwrite : bool
            Replace files of an earlier call with other inputs.
        **options
            As for `run`, without `mask` and `mixed`.
        """
        from sbcdark.pipeline.products.options import build_options  # noqa: PLC0415  each job loads what it needs
        from sbcdark.pipeline.products.subtraction import subtract  # noqa: PLC0415

        return subtract(
            self.engine, _names(names), Path(folder), build_options(**options), sky=sky, overwrite=overwrite
        )

    def validate(
        self,
        *,
        program: int | None = None,
        skies: Iterable[float] = (0.0,),
        apertures: int = 40,
        seed: int = 1,
        progress: Progress | None = None,
    ) -> tuple[Validation, tuple[str, ...]]:
        """Test the dark model: predict each good dark of the catalog from the others.

        Parameters
        ----------
        program : int, optional
            Only the darks of this program.
        skies : iterable of float
            Levels of sky to add, count/s/pixel.
        apertures : int
            Random apertures in each dark.
        seed : int
            Seed of the apertures and of the sky.
        progress : callable, optional
            Called with the number of finished darks and the total.

        Returns
        -------
        validation : Validation
            With rows for each method and level of sky, and a verdict.
        warnings : tuple of str
            The darks that are left out.
        """
        from sbcdark.pipeline.products.catalog_validation import validate_catalog  # noqa: PLC0415

        return validate_catalog(
            self.engine, program=program, skies=tuple(skies), apertures=apertures, seed=seed, progress=progress
        )

    def replay(self, selection: int, folder: Folder, *, overwrite: bool = False) -> list[Replayed]:
        """Make the products of a stored selection again and compare every pixel."""
        from sbcdark.pipeline.products.replay import replay  # noqa: PLC0415  each job loads what it needs

        return replay(self.engine, selection, Path(folder), overwrite=overwrite)

    def changes(self) -> list[Change]:
        """Return the stored selections that the current catalog would make differently, and why."""
        from sbcdark.pipeline.selection.changes import changes  # noqa: PLC0415  each job loads what it needs

        return changes(self.engine)

    # Maintenance

    def retire(self, name: str, reason: str) -> str:
        """Exclude an exposure from all future selections; return its root name. Stored selections stay as they are."""
        from sbcdark.pipeline.ingest.quality import retire  # noqa: PLC0415  each job loads what it needs

        return retire(self.engine, name, reason)

    def restore(self, name: str, reason: str) -> str:
        """Allow a retired or flagged exposure to be selected again; return its root name."""
        from sbcdark.pipeline.ingest.quality import restore  # noqa: PLC0415  each job loads what it needs

        return restore(self.engine, name, reason)

    def verify(self, names: Names = (), *, checksum: bool = False, progress: Progress | None = None) -> Verification:
        """Compare files with the catalog; missing and changed files are no longer selected.

        Parameters
        ----------
        names : str or iterable of str
            Exposures or associations; by default every file.
        checksum : bool
            Read every file in full and compare its sha256.
        """
        from sbcdark.pipeline.ingest.verification import verify  # noqa: PLC0415  each job loads what it needs

        return verify(self.engine, _names(names), checksum=checksum, progress=progress)

    def relocate(self, folders: Folder | Iterable[Folder], *, progress: Progress | None = None) -> Relocation:
        """Find moved files below some folders by their sha256, and store their new place."""
        from sbcdark.pipeline.ingest.relocation import relocate  # noqa: PLC0415  each job loads what it needs

        given = [folders] if isinstance(folders, str | Path) else list(folders)
        return relocate(self.engine, given, progress=progress)

    def export(self, path: Folder, *, overwrite: bool = False) -> dict[str, int]:
        """Export the whole catalog to one SQLite file, itself a catalog; return the number of rows of each table."""
        from sbcdark.catalog.transfer import export  # noqa: PLC0415  each job loads what it needs

        return export(self.engine, Path(path), overwrite=overwrite)

    def import_(self, path: Folder) -> dict[str, int]:
        """Import an exported file into this catalog, which must be empty; return the number of rows of each table."""
        from sbcdark.catalog.transfer import import_  # noqa: PLC0415  each job loads what it needs

        return import_(self.url, Path(path))


def _names(names: Names) -> list[str]:
    given = [names] if isinstance(names, str) else list(names)
    for name in given:
        if not isinstance(name, str):
            raise TypeError(f"names: expected root names as str, got {type(name).__name__}")
    return given


def _apertures(apertures: Apertures, regions: Folder | None) -> tuple[ApertureSpec, ...]:
    from sbcdark.pipeline.products.apertures import ApertureSpec  # noqa: PLC0415  each job loads what it needs
    from sbcdark.pipeline.products.options import apertures_of  # noqa: PLC0415

    given = [apertures] if isinstance(apertures, str | ApertureSpec) else list(apertures)
    return apertures_of(given, None if regions is None else Path(regions))


def _requirements(wanted: MatchKeywords) -> tuple[Rule, Requirements]:
    from sbcdark.pipeline.selection.rules import Requirements, rule_of  # noqa: PLC0415  each job loads what it needs

    given: dict[str, Any] = dict(wanted)
    rule = rule_of(given.pop("rule", "glow"))
    return rule, Requirements(**given)

"""Making products: darks, dark-subtracted frames, masterdarks, photometry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack, overload

from sbcdark.apertures_and_radii import apertures_from, radii_from
from sbcdark.base import OpenCatalog
from sbcdark.keywords import (
    SelectorKeywords,
    flat_from,
    is_one,
    names_from,
    path_from,
    selected_from,
    selector_from,
)
from sbcdark.pipeline.estimation.build_keywords import BuildKeywords
from sbcdark.pipeline.frames.notebook_forms import Results
from sbcdark.progress import progress_of
from sbcdark.results import Products, Records
from sbcdark.signatures import with_keywords

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sbcdark.catalog.progress import Progress
    from sbcdark.keywords import Apertures, Folder, Names, One, Programs, Radii, Several, Texts
    from sbcdark.pipeline.estimation.catalog_validation import CatalogValidation
    from sbcdark.pipeline.estimation.exposure_dark import DarkOfExposure
    from sbcdark.pipeline.products.replay import Replayed
    from sbcdark.pipeline.products.subtraction import Subtracted
    from sbcdark.pipeline.selection.changes import Change
    from sbcdark.pipeline.selection.names import Selector


class MakingCatalog(OpenCatalog):
    """The jobs that make products of exposures and darks."""

    @overload
    def dark(
        self, exposures: One, *, progress: Progress | bool | None = ..., **options: Unpack[BuildKeywords]
    ) -> DarkOfExposure: ...
    @overload
    def dark(
        self, exposures: Several, *, progress: Progress | bool | None = ..., **options: Unpack[BuildKeywords]
    ) -> list[DarkOfExposure]: ...
    @with_keywords(BuildKeywords)
    def dark(
        self, exposures: Names, *, progress: Progress | bool | None = None, **options: Unpack[BuildKeywords]
    ) -> DarkOfExposure | list[DarkOfExposure]:
        """Estimate the dark of an exposure; nothing is written.

        Parameters
        ----------
        exposures : str, Path or iterable of these
            A science exposure in the catalog; for several, or an association, a list is returned.
        progress : callable or bool, optional
            Called with the number of finished exposures and the total; True shows a bar.
        **options
            As for `run`.

        Returns
        -------
        DarkOfExposure or list of DarkOfExposure
            `rate` and `error` (1024 x 1024, count/s/pixel on the detector; `image` has both with the unit), `base`,
            `amplitude`, `sky`, `covariance`; `table` has the parameters with errors, units and descriptions.
        """
        from sbcdark.catalog.engine import reading  # noqa: PLC0415  each job loads what it needs
        from sbcdark.catalog.progress import counted  # noqa: PLC0415
        from sbcdark.pipeline.estimation.exposure_dark import dark_of_exposure  # noqa: PLC0415
        from sbcdark.pipeline.estimation.options import build_options  # noqa: PLC0415
        from sbcdark.pipeline.selection.names import Selector, named_exposures  # noqa: PLC0415

        built = build_options(**options)
        wanted = Selector(names_from(exposures, "exposures"))
        with reading(self.engine) as session:
            named = named_exposures(session, wanted)
        with progress_of(progress, "fitting darks") as shown:
            found = [self._warned(dark_of_exposure(self.engine, name, built)) for name in counted(named, shown)]
        return found[0] if is_one(exposures) and len(found) == 1 else Results(found)

    @overload
    def run(
        self,
        names: One,
        folder: Folder,
        *,
        apertures: Apertures = ...,
        regions: Folder | None = ...,
        sky: str | None = ...,
        growth: Radii = ...,
        pictures: bool = ...,
        overwrite: bool = ...,
        workers: int | None = ...,
        scheduler: str | None = ...,
        talk: Callable[[str], None] | None = ...,
        progress: Progress | bool | None = ...,
        **options: Unpack[BuildKeywords],
    ) -> Products: ...
    @overload
    def run(
        self,
        names: Several | Selector = ...,
        folder: Folder | None = ...,
        *,
        program: Programs = ...,
        association: Texts = ...,
        target: Texts = ...,
        apertures: Apertures = ...,
        regions: Folder | None = ...,
        sky: str | None = ...,
        growth: Radii = ...,
        pictures: bool = ...,
        overwrite: bool = ...,
        workers: int | None = ...,
        scheduler: str | None = ...,
        talk: Callable[[str], None] | None = ...,
        progress: Progress | bool | None = ...,
        **options: Unpack[BuildKeywords],
    ) -> list[Products]: ...
    @with_keywords(BuildKeywords)
    def run(
        self,
        names: Names | Selector = (),
        folder: Folder | None = None,
        *,
        program: Programs = None,
        association: Texts = None,
        target: Texts = None,
        apertures: Apertures = (),
        regions: Folder | None = None,
        sky: str | None = None,
        growth: Radii = (),
        pictures: bool = True,
        overwrite: bool = False,
        workers: int | None = None,
        scheduler: str | None = None,
        talk: Callable[[str], None] | None = None,
        progress: Progress | bool | None = None,
        **options: Unpack[BuildKeywords],
    ) -> Products | list[Products]:
        """Make the science product, the masterdark, the photometry and the pictures of associations.

        Parameters
        ----------
        names : str, Path, iterable of these or Selector
            Associations, or their files; all single exposures together form one more target.
        folder : str or Path
            Folder for the products.
        program, association, target : optional
            Further targets: all science of these programs, associations, targets (TARGNAME), one or many.
        apertures : str, photutils aperture, region, ApertureSpec, or iterable of these
            Apertures to measure: ``circle:x,y,r``, ``ellipse@ra,dec,a,b,pa``, text of DS9, pixel or sky apertures of
            photutils, pixel or sky regions of regions.
        regions : str or Path, optional
            A file of DS9 regions as additional apertures.
        sky : str, optional
            The sky to subtract: ``fit`` (the default with the model), ``annulus:R_IN,R_OUT`` in product pixels,
            ``annulus@R_IN,R_OUT`` in arcsec, or ``none``.
        growth : str or iterable of float
            Radii of a curve of growth around each aperture, in its unit (pixels or arcsec): circles about its centre,
            or ellipses with these semi-major axes.
        pictures : bool
            Draw the pictures.
        overwrite : bool
            Replace products made from other inputs.
        workers : int, optional
            Associations at once; by default one per core.
        scheduler : str, optional
            Address of the scheduler of a Dask cluster, ``tcp://host:8786``, whose workers do the work instead.
        talk : callable, optional
            Called with a message for each finished association.
        progress : callable or bool, optional
            Called with the number of finished associations and the total; True shows a bar.
        **options
            `combine`, `rule`, `top`, `use`, `flat`, `mask`, `max_sigma`, `max_days`, `min_exptime_s`, `mixed`, and
            AstroDrizzle's `final_scale`, `final_rot`, `final_pixfrac`, `final_kernel`, `final_refimage`: see
            `sbcdark.pipeline.estimation.options.build_options`.

        Returns
        -------
        Products or list of Products
            One for a single name, whose failure is raised; else a list. In a list, a failure affects only its own
            target and is in its `outcome`.
        """
        from sbcdark.pipeline.apertures.sky import parse_sky  # noqa: PLC0415
        from sbcdark.pipeline.estimation.options import build_options  # noqa: PLC0415
        from sbcdark.pipeline.products.job import Job  # noqa: PLC0415  each job loads what it needs
        from sbcdark.pipeline.products.run import make  # noqa: PLC0415
        from sbcdark.pipeline.views.growth import plot_growth  # noqa: PLC0415
        from sbcdark.pipeline.views.product_pictures import draw_products  # noqa: PLC0415

        built = build_options(**options)
        notes: list[str] = []
        specs = apertures_from(apertures, regions, notes)
        chosen = parse_sky(sky, built.combine)
        job = Job(
            path_from(folder, "folder"), built, specs, pictures, draw_products, chosen, overwrite, tuple(notes),
            radii_from(growth, specs), plot_growth,
        )  # fmt: skip
        selector = selector_from(names, program=program, association=association, target=target)
        said = self._talk(talk)
        with progress_of(progress, "making products") as shown:
            outcomes = make(self.engine, selector, job, workers=workers, scheduler=scheduler, talk=said, progress=shown)
        if not is_one(names) or len(outcomes) > 1:
            return Results(Products(self._warned(outcome)) for outcome in outcomes)
        (outcome,) = outcomes
        if outcome.failure is not None:
            raise outcome.failure
        return Products(self._warned(outcome))

    @with_keywords(BuildKeywords)
    def subtract(
        self,
        names: Names | Selector = (),
        folder: Folder | None = None,
        *,
        program: Programs = None,
        association: Texts = None,
        target: Texts = None,
        sky: bool = False,
        overwrite: bool = False,
        progress: Progress | bool | None = None,
        **options: Unpack[BuildKeywords],
    ) -> list[Subtracted]:
        """Write the dark-subtracted FLT and the dark in detector pixels of each exposure.

        Parameters
        ----------
        names : str or iterable of str
            Associations or exposures, of any filter or prism.
        folder : str or Path
            Folder for ``ROOTNAME_flt.fits`` and ``ROOTNAME_drk.fits``; never the folder of the inputs.
        program, association, target : optional
            Further exposures: all science of these programs, associations, targets (TARGNAME), one or many.
        sky : bool
            Subtract the fitted sky, too.
        overwrite : bool
            Replace files of an earlier call with other inputs.
        progress : callable or bool, optional
            Called with the number of finished associations and the total, where single exposures count as one; True
            shows a bar.
        **options
            As for `run`, without `mixed` and the options of the drizzle; regions of `mask` in pixels are in those of
            each FLT.
        """
        from sbcdark.pipeline.estimation.options import build_options  # noqa: PLC0415
        from sbcdark.pipeline.products.subtraction import subtract  # noqa: PLC0415  each job loads what it needs

        selector = selector_from(names, program=program, association=association, target=target)
        made_in, built = path_from(folder, "folder"), build_options(**options)
        with progress_of(progress, "subtracting darks") as shown:
            made = subtract(self.engine, selector, made_in, built, sky=sky, overwrite=overwrite, progress=shown)
        return Results(map(self._warned, made))

    def validate(
        self,
        names: Names | Selector = (),
        *,
        program: Programs = None,
        association: Texts = None,
        target: Texts = None,
        skies: Iterable[float] = (0.0,),
        apertures: int = 40,
        seed: int = 1,
        progress: Progress | bool | None = None,
    ) -> tuple[CatalogValidation, tuple[str, ...]]:
        """Test the dark model: predict each good dark of the catalog from the others.

        Parameters
        ----------
        names : str, Path or iterable of these
            Darks or their associations; by default all good darks.
        program, association, target : optional
            Further darks: of these programs, associations, targets, one or many.
        skies : iterable of float
            Levels of sky to add, count/s/pixel.
        apertures : int
            Random apertures in each dark.
        seed : int
            Seed of the apertures and of the sky.
        progress : callable or bool, optional
            Called with the number of finished darks and the total; True shows a bar.

        Returns
        -------
        validation : CatalogValidation
            With `rows` for each method and level of sky, also as a `table` (QTable), and a `verdict`.
        warnings : tuple of str
            The darks that are left out.
        """
        from sbcdark.pipeline.estimation.catalog_validation import validate_catalog  # noqa: PLC0415

        selector = selector_from(names, program=program, association=association, target=target)
        with progress_of(progress, "predicting darks") as shown:
            test, left_out = validate_catalog(
                self.engine,
                selector=selector,
                skies=tuple(skies),
                apertures=apertures,
                seed=seed,
                progress=shown,
            )
        return test, self._said(left_out)

    def replay(
        self,
        selection: int | str,
        folder: Folder,
        *,
        flat: Folder | None = None,
        overwrite: bool = False,
        progress: Progress | bool | None = None,
    ) -> list[Replayed]:
        """Make the products of a stored selection again and compare every pixel.

        Parameters
        ----------
        selection : int or str
            The number of a stored selection; or an exposure or association, for its newest selection with products.
        folder : str or Path
            Folder for the new products.
        flat : str or Path, optional
            The flat, or a folder of flats, where the one of that time has moved.
        overwrite : bool
            Replace existing products.
        progress : callable or bool, optional
            Called with 0 and 1, and at the end with 1 and 1; True shows a bar.
        """
        from sbcdark.catalog.progress import counted  # noqa: PLC0415  each job loads what it needs
        from sbcdark.pipeline.products.replay import replay  # noqa: PLC0415  each job loads what it needs

        made_in, flats = path_from(folder, "folder"), flat_from(flat)
        with progress_of(progress, "making products again") as shown:
            (made,) = [
                replay(self.engine, one, made_in, flat=flats, overwrite=overwrite)
                for one in counted([selection], shown)
            ]
        return made

    @with_keywords(SelectorKeywords)
    def changes(self, names: Names | Selector = (), **wanted: Unpack[SelectorKeywords]) -> Records[Change]:
        """Return the stored selections that the current catalog would make differently, and why.

        Parameters
        ----------
        names : str, Path or iterable of these
            Only the selections of these exposures or associations, and of those of `program`, `association`, `target`.
        """
        from sbcdark.pipeline.selection.changes import Change, changes  # noqa: PLC0415  each job loads what it needs

        return Records(Change, changes(self.engine, selector_from(names, **selected_from(wanted))))

"""The fits of exposures as `run` draws them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sbcdark.pipeline.estimation.exposure_dark import estimate_dark
from sbcdark.pipeline.products.repetition import built_in_memory, run_of_exposure
from sbcdark.pipeline.views.product_pictures import fit_picture, fit_pictures

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import sqlalchemy as sa

    from sbcdark.pipeline.apertures.apertures import ApertureSpec
    from sbcdark.pipeline.estimation.options import BuildOptions
    from sbcdark.pipeline.products.job import Job
    from sbcdark.pipeline.selection.names import Target
    from sbcdark.pipeline.views.residuals import FitPicture


class ExposureFits:
    """The fits of exposures, one after the other; what the exposures of an association share is made once.

    Parameters
    ----------
    engine : Engine
        The catalog.
    options : BuildOptions
        How the dark is made, and the masks.
    apertures : sequence of ApertureSpec or None
        The apertures that the fits leave out; None without masks: those of the last stored product.
    talk : callable
        Called with each warning.
    """

    def __init__(
        self,
        engine: sa.Engine,
        options: BuildOptions,
        apertures: Sequence[ApertureSpec] | None,
        talk: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._options = options
        self._apertures = apertures
        self._talk = talk
        self._last: tuple[tuple[Target, Job], dict[str, FitPicture]] | None = None

    def of(self, exposure: str) -> FitPicture:
        """Return the fit of an exposure."""
        wanted = run_of_exposure(self._engine, exposure, self._options, self._apertures)
        if wanted is None:
            found = estimate_dark(self._engine, exposure, self._options)
            self._tell(found.warnings)
            assert found.dark.fit is not None  # noqa: S101  the model always fits
            return fit_picture(found.exposure, found.dark, found.dark.fit)
        if self._last is None or self._last[0] != wanted:
            built = built_in_memory(self._engine, *wanted)
            self._tell(built.masterdark.warnings)
            self._last = wanted, dict(fit_pictures(built))
        return self._last[1][exposure]

    def _tell(self, warnings: Sequence[str]) -> None:
        for warning in warnings:
            self._talk(warning)

"""Choosing darks, and explaining the choice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack, overload

from sbcdark.apertures_and_radii import apertures_from
from sbcdark.base import OpenCatalog
from sbcdark.catalog import records
from sbcdark.keywords import (
    MatchKeywords,
    flat_from,
    is_one,
    names_from,
    requirements_from,
    selector_from,
    wrong_type,
)
from sbcdark.pipeline.frames.notebook_forms import Results
from sbcdark.results import Match
from sbcdark.signatures import with_keywords

if TYPE_CHECKING:
    from sbcdark.keywords import Apertures, Folder, Names, One, Programs, Several, Texts
    from sbcdark.pipeline.products.aperture_preview import Outlook
    from sbcdark.pipeline.selection.names import Selector
    from sbcdark.pipeline.selection.reasons import Explanation


class ChoosingCatalog(OpenCatalog):
    """The jobs that choose darks."""

    @overload
    def match(self, names: One, *, save: bool = ..., **wanted: Unpack[MatchKeywords]) -> Match: ...
    @overload
    def match(
        self,
        names: Several | Selector = ...,
        *,
        program: Programs = ...,
        association: Texts = ...,
        target: Texts = ...,
        save: bool = ...,
        **wanted: Unpack[MatchKeywords],
    ) -> list[Match]: ...
    @with_keywords(MatchKeywords)
    def match(
        self,
        names: Names | Selector = (),
        *,
        program: Programs = None,
        association: Texts = None,
        target: Texts = None,
        save: bool = False,
        **wanted: Unpack[MatchKeywords],
    ) -> Match | list[Match]:
        """Rank the darks that fit each exposure, with every term of the score.

        Parameters
        ----------
        names : str, Path, iterable of these or Selector
            Exposures, or associations, which stand for their exposures; also their files.
        program, association, target : optional
            Further exposures: all science of these programs, associations, targets (TARGNAME), one or many.
        rule : {"glow", "box", "temperature", "notebook"}
            The quantity that is compared.
        top : int
            Largest number of darks, 5 by default; for the templates of the model 8 by default, as for `run`.
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
        from sbcdark.pipeline.selection.rules import Combine  # noqa: PLC0415

        rule, requirements = requirements_from(wanted)
        found = choice.match(
            self.engine,
            selector_from(names, program=program, association=association, target=target),
            rule=rule,
            wanted=requirements,
            templates=wanted.get("top") or choice.TOP[Combine.MODEL],
            save=save,
        )
        values = [column.name for column in fields(records.Match)]
        matches = [self._warned(Match(**{name: getattr(one, name) for name in values})) for one in found]
        alone = is_one(names) and program is None and association is None and target is None and len(matches) == 1
        return matches[0] if alone else Results(matches)

    @with_keywords(MatchKeywords)
    def why(self, exposure: One, dark: One, **wanted: Unpack[MatchKeywords]) -> Explanation:
        """Explain why a dark is selected for an exposure or not, and what would admit it. Options as for `match`."""
        from sbcdark.pipeline.selection.reasons import why  # noqa: PLC0415  each job loads what it needs

        rule, requirements = requirements_from(wanted)
        (science,), (candidate,) = names_from(exposure, "exposure"), names_from(dark, "dark")
        found = why(self.engine, science, candidate, rule=rule, wanted=requirements)
        return found if found.relaxation is None else replace(found, relaxation=self._words(found.relaxation))

    def advice(self, names: Names) -> str:
        """Return what to do if no dark fits some exposures."""
        from sbcdark.pipeline.selection.suggestions import advice  # noqa: PLC0415  each job loads what it needs

        return self._words(advice(self.engine, names_from(names)))

    def missing_flats(self, names: Names | Selector, flat: Folder | None = None) -> list[str]:
        """Return a warning for each science exposure whose flat is not found, with where to get it.

        Parameters
        ----------
        names : str, iterable of str or Selector
            Exposures or associations.
        flat : str or Path, optional
            The flat, or a folder of flats; by default the folder of the environment variable ``jref``.
        """
        from sbcdark.pipeline.estimation.missing_flats import missing_flats  # noqa: PLC0415  each job loads what it needs

        return list(self._said(missing_flats(self.engine, selector_from(names), flat_from(flat))))

    @with_keywords(MatchKeywords)
    def preview(
        self,
        matches: records.Match | Sequence[records.Match],
        apertures: Apertures,
        *,
        flat: Folder | None = None,
        **wanted: Unpack[MatchKeywords],
    ) -> tuple[list[Outlook], list[str]]:
        """Return the expected dark residuals in apertures for each dark of some matches, and warnings.

        Parameters
        ----------
        matches : Match or sequence of Match
            From `match`.
        apertures, flat, **wanted
            As for `run` and `match`.
        """
        from sbcdark.pipeline.products.aperture_preview import outlook  # noqa: PLC0415  each job loads what it needs

        rule, requirements = requirements_from(wanted)
        given = [matches] if isinstance(matches, records.Match) else matches
        if not isinstance(given, Sequence) or not all(isinstance(one, records.Match) for one in given):
            raise wrong_type("matches", "what Catalog.match returned", matches)
        notes: list[str] = []
        specs = apertures_from(apertures, None, notes)
        found, warnings = outlook(
            self.engine, given, specs, rule=rule, wanted=requirements, flat=None if flat is None else Path(flat)
        )
        return found, list(self._said([*notes, *warnings]))

"""The catalog as JSON: the same objects as those of the command line, read-only.

FastAPI reads the annotations of the routes when it is imported, so this module is imported by the server alone.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003  FastAPI reads it
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from sbcdark.catalog import result_listings
from sbcdark.catalog.engine import reading, redacted
from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.overview import overview
from sbcdark.catalog.queries import HOT_ABOVE_C, ExposureFilter
from sbcdark.pipeline.pages import schemas
from sbcdark.pipeline.pages.schemas import answers
from sbcdark.pipeline.selection import reasons
from sbcdark.pipeline.selection.choice import TOP, match
from sbcdark.pipeline.selection.names import resolve_exposure
from sbcdark.pipeline.selection.rules import MIN_EXPTIME_S, Combine, Requirements, Rule
from sbcdark.pipeline.views import listings
from sbcdark.pipeline.views.json_forms import match_form, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

MOST_ROWS = 1000
_NAME = r"[A-Za-z0-9_.]{1,60}"


class Problem(BaseModel):
    """An error: what happened, and what to do."""

    error: str
    todo: str


Objects = list[dict[str, Any]]
Name = Annotated[str, Path(pattern=f"^{_NAME}$", description="A root name, 8 or 9 characters, or an association.")]
NameQuery = Annotated[str, Query(pattern=f"^{_NAME}$", description="A root name, 8 or 9 characters.")]
Names = Annotated[list[str], Query(min_length=1, max_length=20, description="Exposures or associations.")]
Quality = Literal["good", "suspect", "untested", "retired"]
Limit = Annotated[int, Query(ge=1, le=MOST_ROWS, description="Largest number of rows.")]
Offset = Annotated[int, Query(ge=0, le=10**9, description="Rows to leave out at the start.")]
RuleQuery = Annotated[Rule, Query(description="The quantity that is compared.")]
Top = Annotated[int, Query(ge=1, le=100, description="Largest number of darks.")]
TopOrDefault = Annotated[
    int | None, Query(ge=1, le=100, description="Largest number of darks: by default 5, and 8 for the templates.")
]
MaxSigma = Annotated[float | None, Query(ge=0, le=1e9, description="Largest |z|; by default the ladder 2, 5, any.")]
MaxDays = Annotated[float | None, Query(ge=0, le=1e9, description="Largest separation in time, days.")]
MinExptime = Annotated[float, Query(ge=0, le=1e9, description="Shortest exposure time of a dark, s.")]
Kind = Literal["dark", "science"]


class DarksQuery(BaseModel):
    """What a list of darks may be asked for."""

    program: list[int] | None = None
    quality: list[Quality] | None = None
    hot: bool = False
    since: datetime | None = None
    until: datetime | None = None
    sort: str = "start_mjd"
    descending: bool = False
    limit: Limit = MOST_ROWS
    offset: Offset = 0


class ExposuresQuery(DarksQuery):
    """What a list of exposures may be asked for."""

    kind: Kind | None = None
    filter: list[str] | None = None


def api_router(engine: sa.Engine) -> APIRouter:  # noqa: C901  one function per route
    """Return the routes under /api/ of a catalog."""
    router = APIRouter(prefix="/api", responses={status: {"model": Problem} for status in (400, 404, 422, 503, 504)})

    def listed(asked: DarksQuery, kind: str | None, filters: Sequence[str] | None = None) -> Objects:
        wanted = ExposureFilter(
            kind,
            tuple(asked.program or ()),
            tuple(filters or ()),
            since=asked.since,
            until=asked.until,
            hot=asked.hot,
            quality=tuple(asked.quality or ()),
        )
        found = listings.exposures(engine, wanted, sort=asked.sort, descending=asked.descending)
        return [plain(one) for one in found[asked.offset : asked.offset + asked.limit]]

    @router.get("/status", summary="The catalog at a glance", responses=answers(schemas.STATUS))
    def status() -> dict[str, Any]:
        with reading(engine) as session:
            seen = overview(session, hot_above_c=HOT_ABOVE_C)
        found: dict[str, Any] = plain(seen)
        return {"catalog": redacted(engine.url.render_as_string(hide_password=False))} | found

    @router.get("/exposures", summary="List science exposures and darks", responses=answers(schemas.EXPOSURES))
    def exposures(asked: Annotated[ExposuresQuery, Query()]) -> Objects:
        return listed(asked, asked.kind, asked.filter)

    @router.get("/darks", summary="List darks", responses=answers(schemas.EXPOSURES))
    def darks(asked: Annotated[DarksQuery, Query()]) -> Objects:
        return listed(asked, "dark")

    @router.get(
        "/exposures/{name}", summary="Everything about an exposure or an association", responses=answers(schemas.SHOWN)
    )
    def show(name: Name) -> dict[str, Any]:
        found: dict[str, Any] = plain(listings.show(engine, name))
        return found

    @router.get("/match", summary="Rank the darks of each exposure", responses=answers(schemas.MATCHES))
    def matched(
        name: Names,
        rule: RuleQuery = Rule.GLOW,
        top: TopOrDefault = None,
        max_sigma: MaxSigma = None,
        max_days: MaxDays = None,
        min_exptime_s: MinExptime = MIN_EXPTIME_S,
    ) -> Objects:
        wanted = Requirements(top or Requirements().top, max_sigma, max_days, min_exptime_s)
        templates = top or TOP[Combine.MODEL]
        return [plain(match_form(one)) for one in match(engine, name, rule=rule, wanted=wanted, templates=templates)]

    @router.get("/why", summary="Explain one pair", responses=answers(schemas.EXPLANATIONS))
    def why(
        exposure: NameQuery,
        dark: NameQuery,
        rule: RuleQuery = Rule.GLOW,
        top: Top = 5,
        max_sigma: MaxSigma = None,
        max_days: MaxDays = None,
        min_exptime_s: MinExptime = MIN_EXPTIME_S,
    ) -> Objects:
        wanted = Requirements(top, max_sigma, max_days, min_exptime_s)
        return [plain(reasons.why(engine, exposure, dark, rule=rule, wanted=wanted))]

    @router.get(
        "/selections",
        summary="The stored selections of an exposure, newest first",
        responses=answers(schemas.SELECTIONS),
    )
    def selections(exposure: NameQuery) -> Objects:
        with reading(engine) as session:
            found = result_listings.selections_of(session, resolve_exposure(session, exposure))
        return [plain(one) for one in found]

    @router.get(
        "/selections/{selection}", summary="A stored selection with every term", responses=answers(schemas.SELECTION)
    )
    def selection(selection: Annotated[int, Path(ge=1, lt=2**31)]) -> dict[str, Any]:
        found: dict[str, Any] = plain(listings.show_selection(engine, selection))
        return found

    @router.get("/photometry", summary="The last photometry of an association", responses=answers(schemas.PHOTOMETRY))
    def photometry(association: NameQuery) -> Objects:
        with reading(engine) as session:
            science = result_listings.science_of(result_listings.latest_products(session, association.lower()))
            if science is None:
                raise UsageError(f"The catalog has no product of {association!r}.", f"sbcdark run {association}")
            return [plain(one) for one in result_listings.photometry_of(session, science.id)]

    return router

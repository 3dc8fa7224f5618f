"""Dates that a user gives: a bare date is the whole day, a time is that moment; on both engines."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from helpers import insert_science

from sbcdark.catalog.errors import UsageError
from sbcdark.catalog.queries import ExposureFilter
from sbcdark.catalog.times import utc_time
from sbcdark.pipeline.views.listings import exposures

if TYPE_CHECKING:
    import sqlalchemy as sa

STARTS = {
    "jcmc11aaq": datetime(2015, 4, 12, 23, 59, 59, 999_999, UTC),
    "jcmc11abq": datetime(2015, 4, 13, 0, 0, 0, 0, UTC),
    "jcmc11acq": datetime(2015, 4, 13, 23, 59, 59, 999_999, UTC),
    "jcmc11adq": datetime(2015, 4, 14, 0, 0, 0, 0, UTC),
}


@pytest.mark.parametrize(
    ("since", "until", "letters"),
    [
        ("2015-04-13", None, "bcd"),
        (None, "2015-04-13", "abc"),
        ("2015-04-13", "2015-04-13", "bc"),
        ("20150413", "20150413", "bc"),
        ("2015-W16-1", "2015-W16-1", "bc"),
        ("2015-04-12", "2015-04-12", "a"),
        # So are a month, a year and a day of the Julian calendar.
        ("2015-04", "2015-04", "abcd"),
        ("2015", "2015", "abcd"),
        ("2015-05", None, ""),
        (None, "2015-03", ""),
        ("2015/4/13", "2015-4-13", "bc"),
        ("2015:103", "2015:103", "bc"),
        ("57125", None, "bcd"),
        ("57125.5", None, "cd"),
        # A time is a time.
        (None, "2015-04-13T00:00", "ab"),
        (None, "2015/4/13 00:00", "ab"),
        ("2015-04-13T23:59:59.999999", None, "cd"),
        # Midnight in a zone two hours ahead is 22 h of the day before.
        ("2015-04-13T02:00+02:00", "2015-04-14T02:00:00+02:00", "bcd"),
    ],
)
def test_bare_date_is_the_whole_day(
    empty_catalog: sa.Engine, since: str | None, until: str | None, letters: str
) -> None:
    for name, start in STARTS.items():
        insert_science(empty_catalog, name, start_utc=start)
    wanted = ExposureFilter(since=utc_time(since), until=utc_time(until, end_of_day=True))
    found = sorted(one.rootname for one in exposures(empty_catalog, wanted))
    assert found == [f"jcmc11a{letter}q" for letter in letters]


@pytest.mark.parametrize(
    "text",
    [
        *("", "yesterday", "2015-04-31", "2015-13", "123456", "13.4.2015", "2015-04-13T25:00"),
        *("2015:366", "2015:000", "2015/4-13"),
    ],
)
def test_what_is_no_date_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a date"):
        utc_time(text, end_of_day=True)

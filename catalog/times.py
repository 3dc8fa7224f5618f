"""Modified Julian dates (days, UTC) and times, also as people write them."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, date, datetime, time, timedelta

from sbcdark.catalog.errors import UsageError

_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)


def utc_of_mjd(mjd: float) -> datetime:
    """Return the time of a modified Julian date (days, UTC), to the microsecond.

    Raises
    ------
    OverflowError
        The date is before year 1 or after year 9999.
    """
    return _MJD_EPOCH + timedelta(days=mjd)


def mjd_of_utc(moment: datetime) -> float:
    """Return the modified Julian date (days, UTC) of an aware time."""
    return (moment - _MJD_EPOCH) / timedelta(days=1)


_MONTH = re.compile(r"(\d{4})(?:-(\d{2}))?")
_DAY = re.compile(r"(\d{4})([-/])(\d{1,2})\2(\d{1,2})(?!\d)")
_DAY_OF_YEAR = re.compile(r"(\d{4}):(\d{3})")
_MJD = re.compile(r"[4-9]\d{4}(?:\.\d*)?")


def _days(text: str) -> list[tuple[date, date]]:
    """Return the first and last day of a date, a month or a year; nothing where the text is none of these."""
    match = _MONTH.fullmatch(text.strip())
    try:
        if (of_year := _DAY_OF_YEAR.fullmatch(text.strip())) is not None:
            day = date(int(of_year[1]), 1, 1) + timedelta(days=int(of_year[2]) - 1)
            return [(day, day)] if day.year == int(of_year[1]) else []
        if match is None:
            day = date.fromisoformat(text)
            return [(day, day)]
        year, month = int(match[1]), None if match[2] is None else int(match[2])
        first = date(year, month or 1, 1)
        return [(first, first.replace(month=month or 12, day=monthrange(year, month or 12)[1]))]
    except ValueError:
        return []


def utc_time(text: str | None, *, end_of_day: bool = False) -> datetime | None:
    """Return a date, month, year, time or MJD given by the user as a UTC time.

    Parameters
    ----------
    end_of_day : bool
        Whether a bare date, month or year means its last microsecond instead of its first.

    Raises
    ------
    UsageError
        The text is not a date.
    """
    if text is None:
        return None
    # Slashes, and days and months of one digit, are how people write it; datetime takes neither.
    plain = _DAY.sub(lambda day: f"{day[1]}-{int(day[3]):02}-{int(day[4]):02}", text, count=1)
    for first, last in _days(plain):
        return datetime.combine(last if end_of_day else first, time.max if end_of_day else time.min, tzinfo=UTC)
    if (number := _MJD.fullmatch(text.strip())) is not None:
        return utc_of_mjd(float(number[0]))
    try:
        moment = datetime.fromisoformat(plain)
    except ValueError:
        raise UsageError(
            f"{text!r} is not a date.",
            "Write e.g. 2015-03-01, 2015-03, 2015, 2015:060 (day of the year), 2015-03-01T06:00 or an MJD.",
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)

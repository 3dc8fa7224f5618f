"""Modified Julian dates (days, UTC) and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)


def utc_of_mjd(mjd: float) -> datetime:
    """Return the time of a modified Julian date (days, UTC), to the microsecond.

    Raises
    ------
    OverflowError
        The date is before year 1 or after year 9999.
    """
    return _MJD_EPOCH + timedelta(days=mjd)


def mjd_of_utc(time: datetime) -> float:
    """Return the modified Julian date (days, UTC) of an aware time."""
    return (time - _MJD_EPOCH) / timedelta(days=1)

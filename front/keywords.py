"""What the methods of a catalog take: names, folders, apertures, and their keywords."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from datetime import UTC, date, datetime
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from sbcdark.catalog.errors import ArgumentError

if TYPE_CHECKING:
    from sbcdark.pipeline.selection.names import Selector
    from sbcdark.pipeline.selection.rules import Requirements, Rule

    Names = str | Path | Iterable[str | Path]
    One = str | Path
    Several = list[str] | list[Path] | list[str | Path] | tuple[str | Path, ...]
    Programs = int | str | Iterable[int | str] | None
    """Numbers of programs, one or many."""
    Texts = str | Iterable[str] | None
    """Names of associations or targets, one or many."""
    Moment = Any
    """str, datetime, date, astropy Time, or MJD as a number; None for no limit."""
    Folder = str | Path
    Radii = Any
    """str, numbers, or a Quantity."""
    Apertures = Any
    """str, ApertureSpec, photutils aperture, region, or iterable of these."""


class MatchKeywords(TypedDict, total=False):
    """Options of a match: see `Catalog.match`."""

    rule: str | Rule
    top: int | None
    max_sigma: float | None
    max_days: float | None
    min_exptime_s: float


class SelectorKeywords(TypedDict, total=False):
    """Exposures beside those that are named: all of programs, of associations, of targets (TARGNAME), one or many."""

    program: Programs
    association: Texts
    target: Texts


class ExposureKeywords(TypedDict, total=False):
    """Options of a listing: see `Catalog.exposures`."""

    kind: str | None
    program: Programs
    association: Texts
    target: Texts
    filter: Texts
    hot: bool
    temperature_c: str | tuple[float | None, float | None] | None
    since: Moment
    until: Moment
    quality: str | Iterable[str]
    where: str | Iterable[str]
    sort: str
    descending: bool


def wrong_type(name: str, expected: str, value: object) -> ArgumentError:
    """Return the error that says what an argument should be."""
    return ArgumentError(f"{name}: expected {expected}, got {type(value).__name__}: {value!r:.80}")


_ROOT_NAMES = re.compile(r"[A-Za-z0-9]{8,9}(?:, ?[A-Za-z0-9]{8,9})*,?")


def is_one(names: object) -> bool:
    """Return whether names are a single one, as text or as the path of a file."""
    return isinstance(names, str | Path)


def names_from(names: Names, name: str = "names") -> list[str]:
    """Return names, one or many, as a list of str.

    Raises
    ------
    TypeError
        One is neither a str nor a path.
    """
    expected = "a root name or the path of a file (str or Path), or several"
    if not isinstance(names, str | Path) and not isinstance(names, Iterable):
        raise wrong_type(name, expected, names)
    given = [names] if isinstance(names, str | Path) else list(names)
    for one in given:
        if not isinstance(one, str | Path):
            raise wrong_type(name, expected, one)
    return [str(one) for one in given]


def path_from(value: object, name: str) -> Path:
    """Return a path.

    Raises
    ------
    TypeError
        It is neither a str nor a path.
    """
    if not isinstance(value, str | Path):
        raise wrong_type(name, "a path (str or Path)", value)
    return Path(value).expanduser()


def flat_from(value: object) -> Path | None:
    """Return a flat or a folder of flats, which must exist, as a path; None stays None."""
    from sbcdark.pipeline.estimation.options import flat_path  # noqa: PLC0415  options load more than a name needs

    return None if value is None else flat_path(path_from(value, "flat"))


def paths_from(value: Folder | Iterable[Folder], name: str) -> list[str | Path]:
    """Return paths and addresses, one or many, as a list.

    Raises
    ------
    TypeError
        One is neither a str nor a path.
    """
    if not isinstance(value, str | Path | Iterable):
        raise wrong_type(name, "a path or an address (str or Path), or several", value)
    given = [value] if isinstance(value, str | Path) else list(value)
    for one in given:
        if not isinstance(one, str | Path):
            raise wrong_type(name, "a path or an address (str or Path), or several", one)
    return given


def program_from(program: object) -> int | None:
    """Return the number of a program, also from its digits.

    Raises
    ------
    TypeError
        It is something else.
    """
    if isinstance(program, str) and program.strip().isdecimal():
        return int(program)
    if program is None:
        return None
    if isinstance(program, Integral) and not isinstance(program, bool):
        return int(program)
    raise wrong_type("program", "a number such as 13655", program)


def programs_from(programs: object) -> tuple[int, ...]:
    """Return the numbers of programs, one or many, as text also separated by commas.

    Raises
    ------
    TypeError
        One is something else.
    """
    many = isinstance(programs, Iterable) and not isinstance(programs, str)
    given: list[Any] = list(programs) if many else [programs]  # type: ignore[call-overload]
    words = [word for one in given for word in (one.split(",") if isinstance(one, str) else [one])]
    return tuple(number for number in map(program_from, words) if number is not None)


def moment_from(moment: Moment, name: str, *, end_of_day: bool = False) -> datetime | None:
    """Return a time: from a date, month, year or time as text, a datetime (UTC if it has no zone), a Time, or an MJD.

    Parameters
    ----------
    end_of_day : bool
        Whether a date, month or year means its end.

    Raises
    ------
    TypeError
        It is something else.
    UsageError
        A text is not a date.
    """
    from sbcdark.catalog.times import utc_of_mjd, utc_time  # noqa: PLC0415  each job loads what it needs

    if moment is None or isinstance(moment, str):
        return utc_time(moment, end_of_day=end_of_day)
    if isinstance(moment, datetime):
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    if isinstance(moment, date):
        return utc_time(moment.isoformat(), end_of_day=end_of_day)
    mjd = getattr(getattr(moment, "utc", None), "mjd", moment)  # a Time
    if isinstance(mjd, Real) and not isinstance(mjd, bool):
        return utc_of_mjd(float(mjd))
    raise wrong_type(name, "a date such as '2015-04', a datetime, a Time or an MJD", moment)


def temperatures_from(value: object) -> tuple[float | None, float | None]:
    """Return a range of temperatures (C), given as a pair or as text: ``25:27``, ``25:``, ``:24``.

    Raises
    ------
    TypeError
        It is something else.
    UsageError
        The text is not a range.
    """
    from sbcdark.catalog.errors import UsageError  # noqa: PLC0415  each job loads what it needs

    if value is None:
        return None, None
    if isinstance(value, str):
        low, colon, high = value.partition(":")
        try:
            limits = (float(low) if low.strip() else None, float(high) if high.strip() else None)
        except ValueError:
            limits = (None, None)
        finite = all(limit is None or math.isfinite(limit) for limit in limits)
        turned = limits[0] is not None and limits[1] is not None and limits[0] > limits[1]
        if not colon or limits == (None, None) or not finite or turned:
            raise UsageError(f"{value!r} is not a range of temperatures.", "Write LOW:HIGH, e.g. 25:27, 25: or :24.")
        return limits
    if isinstance(value, tuple | list) and len(value) == 2 and all(x is None or isinstance(x, Real) for x in value):
        return value[0], value[1]
    raise wrong_type("temperature_c", "a pair (low, high) in C, or text such as '25:27'", value)


def listed_from(value: object, name: str) -> list[str]:
    """Return names of filters, associations or targets, one or many, also separated by commas, which none of them has.

    Raises
    ------
    TypeError
        One is not a str.
    """
    # A text without a name stays, and nothing has that name: left out, it would stand for everything.
    return [word for text in texts_from(value, name) for word in _words(text) or [""]]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def texts_from(value: object, name: str) -> list[str]:
    """Return texts, one or many, as a list.

    Raises
    ------
    TypeError
        One is not a str.
    """
    if value is None:
        return []
    given: list[Any] = list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]
    for one in given:
        if not isinstance(one, str):
            raise wrong_type(name, "a str, or several", one)
    return given


def qualities_from(quality: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return qualities by their names, also separated by commas.

    Raises
    ------
    UsageError
        There is no such quality.
    """
    from sbcdark.catalog.errors import UsageError  # noqa: PLC0415  each job loads what it needs
    from sbcdark.catalog.queries import QUALITIES  # noqa: PLC0415

    names = tuple(name.lower() for name in listed_from(quality, "quality"))
    for name in names:
        if name not in QUALITIES:
            raise UsageError(f"There is no quality {name!r}.", f"Use one of: {', '.join(QUALITIES)}")
    return names


def selector_from(
    names: Names | Selector,
    *,
    program: Programs = None,
    association: Texts = None,
    target: Texts = None,
) -> Selector:
    """Return what is selected: names, and what is named beside them; or a selector as it is.

    Raises
    ------
    TypeError
        A name is not a str, or a program not a number.
    """
    from sbcdark.pipeline.selection.names import Selector  # noqa: PLC0415  each job loads what it needs

    if isinstance(names, Selector):
        return names
    associations, targets = listed_from(association, "association"), listed_from(target, "target")
    # The name of a file may have a comma, a root name has none.
    given = [one for name in names_from(names) for one in (_words(name) if _ROOT_NAMES.fullmatch(name) else [name])]
    return Selector(tuple(given), programs_from(program), tuple(associations), tuple(targets))


def selected_from(wanted: SelectorKeywords) -> SelectorKeywords:
    """Return those keywords of a method that select exposures beside names."""
    return {
        "program": wanted.get("program"),
        "association": wanted.get("association"),
        "target": wanted.get("target"),
    }


def requirements_from(wanted: MatchKeywords) -> tuple[Rule, Requirements]:
    """Return the rule and the requirements that the keywords of a match name.

    Raises
    ------
    UsageError
        There is no such rule.
    """
    from sbcdark.pipeline.selection.rules import Requirements, rule_of  # noqa: PLC0415  each job loads what it needs

    given: dict[str, Any] = dict(wanted)
    rule = given.pop("rule", None) or "glow"
    # None stands for the default.
    return rule_of(rule), Requirements(**{name: value for name, value in given.items() if value is not None})

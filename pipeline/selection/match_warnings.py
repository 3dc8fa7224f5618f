"""Warnings about an exposure and the darks selected for it: what is odd, and what to do."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING

from sbcdark.catalog.criteria import USABLE
from sbcdark.catalog.errors import BadFileError
from sbcdark.pipeline.frames.untrusted_fits import local_path
from sbcdark.pipeline.selection.rules import BASE_SCATTER, LADDER, Rule, describe_quality, difference, score, too_bright

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sbcdark.catalog.records import MatchValues, ScoredDark
    from sbcdark.pipeline.selection.rules import Score

_STRANGE_SIGMA = 5.0
"""Disagreements above this are reported: one false alarm in 1.7 million exposures."""

_STRANGE_TEMPERATURE_C = 2.0

_MISSING_SHOWN = 3
"""Number of darks with a missing file that are named."""


def warnings_about(rule: Rule, science: MatchValues, darks: Sequence[tuple[ScoredDark, MatchValues]]) -> list[str]:
    """Return what a user should know about the selection for one exposure: what is odd, and what to do."""
    found = warnings_about_file(science)
    if not darks:
        return found
    found += warnings_about_darks([values for _, values in darks])
    best, dark = darks[0]
    contrast = score(Rule.GLOW, science, dark)
    if rule is not Rule.NOTEBOOK and best.delta_sigma is not None and abs(best.delta_sigma) > LADDER[1][1]:
        found.append(
            f"no dark is within 5 sigma: the nearest, {dark.rootname}, is {abs(best.delta_sigma):.1f} sigma away; "
            f"get more darks: sbcdark programs --near {science.rootname}"
        )
    glow_sigma = abs(contrast.delta_sigma) if contrast is not None and contrast.delta_sigma is not None else 0.0
    if rule is not Rule.GLOW and glow_sigma > _STRANGE_SIGMA:
        found.append(
            f"the glow of {dark.rootname} differs by {glow_sigma:.1f} sigma from this exposure's; "
            "compare with --rule glow"
        )
    found += _warnings_about_quiet_rows(rule, science, dark)
    contrast_sigma = (science.contrast_count_s_pix or 0.0) / (science.contrast_err_count_s_pix or math.inf)
    if contrast_sigma < -_STRANGE_SIGMA:
        found.append(
            f"its quiet rows are brighter than its box, by {-contrast_sigma:.1f} sigma: a source there hides the glow; "
            "use --rule box, or the model, which masks sources"
        )
    glows = contrast_sigma > _STRANGE_SIGMA
    if rule in {Rule.GLOW, Rule.BOX} and glows and abs(best.delta_temperature_c) > _STRANGE_TEMPERATURE_C:
        found.append(
            f"{dark.rootname}, the nearest in {rule.value}, was {abs(best.delta_temperature_c):.1f} C "
            f"{'colder' if best.delta_temperature_c > 0 else 'warmer'}: a source in the box can look like glow; "
            "check the picture of `sbcdark run`"
        )
    return found


def warnings_about_darks(darks: Sequence[MatchValues]) -> list[str]:
    """Return warnings about darks whose exposure time, or whose darkness, is in doubt."""
    found = []
    for dark in darks:
        doubts = []
        if dark.exposure_flag not in {None, "NORMAL"}:
            doubts.append(f"EXPFLAG is {dark.exposure_flag}, so its exposure time may be wrong")
        if dark.filter is not None and not dark.filter.startswith("BLOCK"):
            doubts.append(f"FILTER1 is {dark.filter}, which lets light through")
        if doubts:
            todo = f"exclude it with: sbcdark retire {dark.rootname} --reason doubtful"
            found.append(f"the dark {dark.rootname} is in doubt ({', and '.join(doubts)}); {todo}")
    return found


def warnings_about_missing(gone: Sequence[tuple[Score, MatchValues]], darks: Sequence[ScoredDark]) -> list[str]:
    """Return warnings about darks that would be selected if their file were not missing or changed.

    Parameters
    ----------
    gone : sequence of (Score, MatchValues)
        Darks with a missing or changed file, with their scores.
    darks : sequence of ScoredDark
        The darks selected instead.
    """
    worst = max((dark.score for dark in darks), default=math.inf)
    better = sorted(
        ((terms.score, dark) for terms, dark in gone if terms.score <= worst), key=lambda one: (one[0], one[1].rootname)
    )
    found = []
    for state, what, todo in (
        ("missing", "is missing", "find moved files with: sbcdark relocate DIR"),
        ("changed", "changed after the ingest", "update the catalog with: sbcdark ingest"),
    ):
        files = {dark.rootname: dark.file for _, dark in better if dark.file is not None and dark.file.state == state}
        if not files:
            continue
        names = list(files)[:_MISSING_SHOWN]
        more = f" and {len(files) - len(names)} more" if len(files) > len(names) else ""
        first = files[names[0]]
        command = f"{todo} {_typed(first.uri)}" if state == "changed" else todo
        found.append(f"the RAW of {', '.join(names)}{more} {what} ({first.uri}): the next best are used; {command}")
    return found


def _typed(uri: str) -> str:
    """Return a file's path or URI, quoted for a command line."""
    try:
        return shlex.quote(str(local_path(uri)))
    except BadFileError:
        return shlex.quote(uri)


def warnings_about_forced(science: MatchValues, darks: Sequence[MatchValues]) -> list[str]:
    """Return warnings about darks that the user named for an exposure."""
    found = warnings_about_darks(darks)
    for dark in darks:
        reasons = [] if dark.quality in USABLE else [describe_quality(dark)]
        if dark.rootname == science.rootname:
            reasons.append("it is the exposure itself")
        reasons += too_bright(science, dark)
        if reasons:
            found.append(f"{dark.rootname} is used because it is named, but: {'; '.join(reasons)}")
    return found


def warnings_about_file(science: MatchValues) -> list[str]:
    """Return warnings about a science exposure's own file."""
    found = []
    if science.exposure_flag not in {None, "NORMAL"}:
        found.append(f"EXPFLAG is {science.exposure_flag}: the exposure may have been interrupted")
    if science.observation_quality not in {None, "OK"}:
        found.append(f"QUALITY is {science.observation_quality}: the observatory noted a fault of this exposure")
    if science.kind == "science" and science.guide_star_lock not in {None, "FINE"}:
        found.append(f"FGSLOCK is {science.guide_star_lock}: without fine lock the source may drift")
    found += _warnings_about_temperature(science)
    file = science.file
    if file is None:
        found.append(
            "its FLT is not in the catalog: the measurement of its RAW is used; ingest it: sbcdark ingest PATH"
        )
    elif file.state == "missing":
        found.append(f"its {file.kind} is missing ({file.uri}); find it with: sbcdark relocate DIR")
    elif file.state == "changed":
        found.append(
            f"its {file.kind} changed after the ingest: the old measurement is compared; "
            f"update it with: sbcdark ingest {_typed(file.uri)}"
        )
    elif science.kind == "science" and (file.mean_dark_count or 0.0) > 0:
        found.append(
            f"its dark is already subtracted (DARKCORR {file.dark_correction or 'missing'}, MEANDARK "
            f"{file.mean_dark_count:g} counts) and would be subtracted twice; calibrate it again with DARKCORR OMIT"
        )
    elif science.kind == "science" and file.dark_correction == "COMPLETE":
        found.append("DARKCORR is COMPLETE with a MEANDARK of 0; make sure that the subtracted dark was empty")
    return found


def _warnings_about_temperature(science: MatchValues) -> list[str]:
    both = (science.temperature_start_c, science.temperature_end_c)
    unread = [keyword for keyword, celsius in zip(("MDECODT1", "MDECODT2"), both, strict=True) if celsius == 0.0]
    if len(unread) == 2:
        return ["MDECODT1 and MDECODT2 are 0.0: its temperature is unknown, and the rule temperature is misleading"]
    if unread and science.temperature_mean_c in both:
        return [f"{unread[0]} is 0.0: its mean temperature is the other reading alone"]
    return []


_SKY_FILTERS = {"F115LP", "F122M", "F125LP", "PR110L", "PR130L"}
"""Filters that transmit the geocoronal lines (Lyman alpha, O I 1304 A): there a bright sky is normal."""


def _warnings_about_quiet_rows(rule: Rule, science: MatchValues, dark: MatchValues) -> list[str]:
    """Compare the quiet rows, allowing for the scatter of the base.

    Uniform light matters to the rules that take it for dark. For the others it is unusual only where it is brighter
    than the dark itself in a filter that blocks the geocoronal lines.
    """
    delta = difference(science.quiet_rate_count_s_pix, dark.quiet_rate_count_s_pix)
    counts_as_dark = rule in {Rule.BOX, Rule.NOTEBOOK}
    if delta is None:
        return []
    normal = science.filter in _SKY_FILTERS or delta < (dark.quiet_rate_count_s_pix or 0.0)
    if normal and not counts_as_dark:
        return []
    # The base itself varies by 8 % from frame to frame, everywhere on the detector together.
    base_scatter = BASE_SCATTER * (dark.quiet_rate_count_s_pix or 0.0)
    sigma = math.hypot(
        science.quiet_rate_err_count_s_pix or 0.0, dark.quiet_rate_err_count_s_pix or 0.0, math.sqrt(2.0) * base_scatter
    )
    if sigma == 0 or delta < _STRANGE_SIGMA * sigma:
        return []
    what = f"its quiet rows are {delta / sigma:.0f} sigma above those of {dark.rootname}: sky or a halo"
    if counts_as_dark:
        return [f"{what}, which the rule {rule.value} takes for dark; use --rule glow or the model"]
    return [f"{what}; check the picture of `sbcdark run`"]

"""What looks wrong about an exposure and the darks chosen for it: what is odd, and what to do."""

from __future__ import annotations

import math
import shlex
from typing import TYPE_CHECKING

from sbcdark.catalog.criteria import USABLE
from sbcdark.catalog.errors import BadFileError
from sbcdark.pipeline.frames.untrusted_fits import local_path
from sbcdark.pipeline.selection.rules import BASE_SCATTER, LADDER, Rule, difference, quality_told, score, too_bright

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sbcdark.catalog.records import MatchValues, ScoredDark
    from sbcdark.pipeline.selection.rules import Score

_STRANGE_SIGMA = 5.0
"""From so many sigma on a disagreement is told: one false alarm in 1.7 million exposures."""

_STRANGE_TEMPERATURE_C = 2.0

_MISSING_TOLD = 3
"""So many darks whose file is gone are named."""


def warnings_about(rule: Rule, science: MatchValues, darks: Sequence[tuple[ScoredDark, MatchValues]]) -> list[str]:
    """Return what a user should know before trusting the choice for one exposure: what is odd, and what to do."""
    told = warnings_about_file(science)
    if not darks:
        return told
    best, dark = darks[0]
    contrast = score(Rule.GLOW, science, dark)
    if rule is not Rule.NOTEBOOK and best.delta_sigma is not None and abs(best.delta_sigma) > LADDER[1][1]:
        told.append(
            f"no dark is within 5 sigma: the nearest, {dark.rootname}, is {abs(best.delta_sigma):.1f} sigma away; "
            "ingest more calibration programs"
        )
    glow_sigma = abs(contrast.delta_sigma) if contrast is not None and contrast.delta_sigma is not None else 0.0
    if rule is not Rule.GLOW and glow_sigma > _STRANGE_SIGMA:
        told.append(
            f"the glow of {dark.rootname} differs by {glow_sigma:.1f} sigma from this exposure's; "
            "compare with --rule glow"
        )
    told += _warnings_about_quiet_rows(science, dark)
    contrast_sigma = (science.contrast_count_s_pix or 0.0) / (science.contrast_err_count_s_pix or math.inf)
    if contrast_sigma < -_STRANGE_SIGMA:
        told.append(
            f"its quiet rows are brighter than its box, by {-contrast_sigma:.1f} sigma: a source lies in the rows "
            "y < 128 and hides the glow from the rule; choose by --rule box, or use the model, which masks sources"
        )
    glows = contrast_sigma > _STRANGE_SIGMA
    if rule in {Rule.GLOW, Rule.BOX} and glows and abs(best.delta_temperature_c) > _STRANGE_TEMPERATURE_C:
        told.append(
            f"{dark.rootname}, the nearest in {rule.value}, was {abs(best.delta_temperature_c):.1f} C "
            f"{'colder' if best.delta_temperature_c > 0 else 'warmer'} than this exposure: a source in the box can "
            "look like glow; look at the picture of `sbcdark run`"
        )
    return told


def warnings_about_missing(gone: Sequence[tuple[Score, MatchValues]], darks: Sequence[ScoredDark]) -> list[str]:
    """Return what is to be said of darks that would rank among those taken, had their file not gone.

    Parameters
    ----------
    gone : sequence of (Score, MatchValues)
        Darks whose file is not at its place, with their scores.
    darks : sequence of ScoredDark
        What was taken instead.
    """
    worst = max((dark.score for dark in darks), default=math.inf)
    better = sorted(
        ((terms.score, dark) for terms, dark in gone if terms.score <= worst), key=lambda one: (one[0], one[1].rootname)
    )
    told = []
    for state, what, todo in (
        ("missing", "is not at its place any more", "find moved files with: sbcdark relocate DIR"),
        ("changed", "changed after the ingest", "take it as it is now with: sbcdark ingest"),
    ):
        files = {dark.rootname: dark.file for _, dark in better if dark.file is not None and dark.file.state == state}
        if not files:
            continue
        names = list(files)[:_MISSING_TOLD]
        more = f" and {len(files) - len(names)} more" if len(files) > len(names) else ""
        first = files[names[0]]
        command = f"{todo} {_typed(first.uri)}" if state == "changed" else todo
        told.append(f"the RAW of {', '.join(names)}{more} {what} ({first.uri}): the next best are taken; {command}")
    return told


def _typed(uri: str) -> str:
    """Return a file's place as it is typed in a command."""
    try:
        return shlex.quote(str(local_path(uri)))
    except BadFileError:
        return shlex.quote(uri)


def warnings_about_forced(science: MatchValues, darks: Sequence[MatchValues]) -> list[str]:
    """Return what speaks against darks that the user named for an exposure."""
    told = []
    for dark in darks:
        reasons = [] if dark.quality in USABLE else [quality_told(dark)]
        if dark.rootname == science.rootname:
            reasons.append("it is the exposure itself")
        reasons += too_bright(science, dark)
        if reasons:
            told.append(f"{dark.rootname} is used because it is named, though: {'; '.join(reasons)}")
    return told


def warnings_about_file(science: MatchValues) -> list[str]:
    """Return what is odd about a science exposure's own file."""
    told = []
    if science.exposure_flag not in {None, "NORMAL"}:
        told.append(f"EXPFLAG is {science.exposure_flag}: the exposure may have been interrupted")
    if science.observation_quality not in {None, "OK"}:
        told.append(f"QUALITY is {science.observation_quality}: the observatory noted a fault of this exposure")
    if science.kind == "science" and science.guide_star_lock not in {None, "FINE"}:
        told.append(
            f"FGSLOCK is {science.guide_star_lock}: without fine lock the pointing may drift, and a source with it"
        )
    told += _warnings_about_temperature(science)
    file = science.file
    if file is None:
        told.append("its FLT is not in the catalog; what was measured on its RAW is used")
    elif file.state == "missing":
        told.append(f"its {file.kind} is not at its place any more ({file.uri}); find it with: sbcdark relocate DIR")
    elif file.state == "changed":
        told.append(
            f"its {file.kind} changed after the ingest, and what was measured then is compared; take it as it is now "
            f"with: sbcdark ingest {_typed(file.uri)}"
        )
    elif science.kind == "science" and (file.mean_dark_count or 0.0) > 0:
        told.append(
            f"its FLT is dark-subtracted already (DARKCORR {file.dark_correction or 'missing'}, MEANDARK "
            f"{file.mean_dark_count:g} counts): a masterdark would subtract the dark twice; calibrate it again with "
            "DARKCORR OMIT"
        )
    elif science.kind == "science" and file.dark_correction == "COMPLETE":
        told.append("DARKCORR is COMPLETE with a MEANDARK of 0: make sure that the dark that was subtracted was empty")
    return told


def _warnings_about_temperature(science: MatchValues) -> list[str]:
    both = (science.temperature_start_c, science.temperature_end_c)
    unread = [keyword for keyword, celsius in zip(("MDECODT1", "MDECODT2"), both, strict=True) if celsius == 0.0]
    if len(unread) == 2:
        return ["MDECODT1 and MDECODT2 are 0.0: its temperature was not read, and the rule temperature misleads"]
    if unread and science.temperature_mean_c in both:
        return [f"{unread[0]} is 0.0: its mean temperature is the other reading alone"]
    return []


def _warnings_about_quiet_rows(science: MatchValues, dark: MatchValues) -> list[str]:
    """Compare the quiet rows after taking out the glow that leaks into them."""
    delta = difference(science.quiet_rate_count_s_pix, dark.quiet_rate_count_s_pix)
    if delta is None:
        return []
    # The base itself varies by 8 % from frame to frame, everywhere on the detector together.
    base_scatter = BASE_SCATTER * (dark.quiet_rate_count_s_pix or 0.0)
    sigma = math.hypot(
        science.quiet_rate_err_count_s_pix or 0.0, dark.quiet_rate_err_count_s_pix or 0.0, math.sqrt(2.0) * base_scatter
    )
    if sigma == 0 or delta < _STRANGE_SIGMA * sigma:
        return []
    message = (
        f"its quiet rows are {delta:.1e} count/s/pixel above those of {dark.rootname} ({delta / sigma:.0f} sigma): "
        "sky, airglow, the edge of the South Atlantic Anomaly or the halo of a source lies on the frame. The rule glow "
        "and the model are free of what is uniform; box and notebook take it for dark"
    )
    return [message]

"""The command that shows all about an exposure, an association or a stored selection: show."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sbcdark.catalog.errors import BadFileError
from sbcdark.catalog.text import number
from sbcdark.cli.app import app, catalog
from sbcdark.cli.output import (
    Column,
    JsonOption,
    fixed,
    minute,
    print_json,
    print_table,
    rounded,
    scaled,
    tell,
)
from sbcdark.cli.selectors import SelectorOptions, numbers_of
from sbcdark.cli.shared_options import with_options
from sbcdark.pipeline.frames.untrusted_fits import local_path
from sbcdark.pipeline.views import listings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_RATES = (
    Column("region", "region"),
    Column("counts", "counts", fixed(1)),
    Column("rate", "rate"),
    Column("good_pixels", "good pixels", spare=1),
)
_NOTES = (
    Column("created_utc", "when (UTC)", minute),
    Column("quality", "quality"),
    Column("by", "by", spare=1),
    Column("reason", "reason", folds=True),
)
_SELECTIONS = (
    Column("selection", "selection"),
    Column("rule", "rule"),
    Column("tier", "tier"),
    Column("created_utc", "stored (UTC)", minute, spare=2),
    Column("catalog_revision", "catalog revision", spare=3),
    Column("software_version", "version", spare=4),
    Column("darks", "darks", lambda names: ", ".join(names) if len(names) <= 3 else number(len(names), "dark")),
)
_MEMBERS = (
    Column("rootname", "exposure"),
    Column("filter", "filter", spare=3, common=True),
    Column("start_utc", "start (UTC)", minute, spare=1),
    Column("exptime_s", "time (s)", fixed(0), spare=2),
    Column("temperature_mean_c", "T mean (C)", fixed(2), spare=4),
    Column(
        "contrast_count_s_pix",
        "contrast (1e-6 count/s/pixel)",
        scaled(1e6, 1),
        spare=5,
        error="contrast_err_count_s_pix",
    ),
    Column("quality", "quality", spare=6, common=True),
)
_DARKS = (
    Column("rank", "rank"),
    Column("dark", "dark"),
    Column("role", "role", spare=1),
    Column("program", "program", spare=3, common=True),
    Column("weight", "weight", fixed(3), spare=4, common=True),
    Column("delta_sigma", "d sigma", fixed(2)),
    Column("delta_contrast_count_s_pix", "d contrast", scaled(1e6, 2), spare=1),
    Column("delta_box_rate_count_s_pix", "d box rate", scaled(1e6, 2), spare=5),
    Column("delta_temperature_c", "d T (C)", fixed(2), spare=1),
    Column("delta_days", "d time (days)", fixed(2), spare=2),
    Column("file_state", "file", spare=1, common=True),
)
_ABOUT_ROLES = (
    "Roles: rule ranks first for one of the exposures, cold and warm are nearest in time, for the base and for the glow"
)
_LABEL = 12
"""Width of the labels of facts."""


@app.command()
@with_options(SelectorOptions)
def show(
    options: SelectorOptions,
    selection: Annotated[
        list[str] | None,
        typer.Option("--selection", metavar="ID", help="A stored selection; several by commas."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show everything about exposures, associations or selections."""
    numbers = numbers_of("selection", selection or ())
    known = [] if options.selector.is_empty and numbers else catalog().show_records(options.selector)
    stored = [catalog().selection_record(one) for one in numbers]
    if as_json:
        print_json([*known, *stored])
        return
    shown = 0
    for print_it, things in ((_print_known, known), (_print_selection, stored)):
        for one in things:
            if shown:
                tell("")
            shown += 1
            print_it(one)


def _print_known(known: Mapping[str, Any]) -> None:
    if "members" in known:
        _print_association(known)
    else:
        _print_exposure(known)


def _fact(label: str, *parts: str | None) -> None:
    """Print a fact: a label and its parts, without absent ones."""
    there = [part for part in parts if part]
    if there:
        tell(f"{label:{_LABEL}} {', '.join(there)}")


def _print_association(known: Mapping[str, Any]) -> None:
    tell(_title(known["association"], "association", known))
    if known["absent"]:
        tell(f"Not in the catalog: {', '.join(known['absent'])}")
    print_table(known["exposures"], _MEMBERS)
    _print_products(known["products"], "Stored products, the last of each kind")


def _title(name: str, what: str, known: Mapping[str, Any]) -> str:
    parts = [f"of program {known['program']}" if known["program"] is not None else None]
    if what != "dark":  # a dark has no target and no filter, whatever its header says
        parts += [f"target {known['target']}" if known["target"] else None, known.get("filter")]
    return f"{name}: {what} {', '.join(part for part in parts if part)}".rstrip()


def _print_exposure(known: Mapping[str, Any]) -> None:
    tell(_title(known["rootname"], "dark" if known["kind"] == "dark" else "science exposure", known))
    hot = known["temperature_mean_c"] > listings.HOT_ABOVE_C
    _fact("start", f"{known['start_utc']:%Y-%m-%d %H:%M:%S} UTC", f"MJD {known['start_mjd']:.5f}")
    _fact("time", f"{known['exptime_s']:g} s")
    _fact(
        "temperature",
        f"{known['temperature_start_c']:.2f} C at the start",
        f"{known['temperature_end_c']:.2f} C at the end",
        f"mean {known['temperature_mean_c']:.2f} C{' (hot)' if hot else ''}",
    )
    _fact("association", known["association"])
    _fact("quality", known["quality"], known["quality_reason"])
    _fact("hot pixels", None if known["hot_pixels"] is None else str(known["hot_pixels"]))
    header = (("EXPFLAG", "exposure_flag"), ("QUALITY", "observation_quality"), ("FGSLOCK", "guide_star_lock"))
    _fact("header", *(f"{word} = {known[key]}" for word, key in header if known[key] is not None))
    _print_rates(known)
    if known["files"]:
        tell("")
        tell("Files" if len(known["files"]) > 1 else "File")
        for file in known["files"]:
            _print_file(file)
    if known["quality_notes"]:
        notes = [note | {"by": "hand" if note["by_hand"] else "test"} for note in known["quality_notes"]]
        print_table(notes, _NOTES, "\nQuality")
    if known["selections"]:
        print_table(known["selections"], _SELECTIONS, "\nStored selections (all terms: sbcdark show --selection ID)")
    _print_products(known["products"], "Stored products, the last of each kind")


def _print_rates(known: Mapping[str, Any]) -> None:
    """Print the rates of the newest measured file, and the contrast."""
    newest = [one for one in known["measurements"] if one["file"] == known["measurements"][0]["file"]]
    rows = [one | {"rate": rounded(one["rate_count_s_pix"] * 1e6, one["rate_err_count_s_pix"] * 1e6)} for one in newest]
    if known["contrast_count_s_pix"] is not None:
        contrast, error = known["contrast_count_s_pix"] * 1e6, known["contrast_err_count_s_pix"] * 1e6
        rows.append({"region": "contrast", "rate": rounded(contrast, error)})
    files = {file["uri"]: file for file in known["files"] if file["state"] != "changed"}
    counted = _counted(files.get(newest[0]["file"]))
    print_table(rows, _RATES, f"\nRates in 1e-6 count/s/pixel{counted}; contrast is box minus quiet rows")


def _counted(file: Mapping[str, Any] | None) -> str:
    """Say what the counts of an FLT are; those of a RAW are the detector's."""
    if file is None or file["kind"] != "FLT":
        return ""
    return f", of FLT x {file['multiplied_by']}" if file["multiplied_by"] else ", of the FLT's own counts"


def _print_file(file: Mapping[str, Any]) -> None:
    words = [
        ("CAL_VER", file["calibration_version"]),
        ("DARKCORR", file["dark_correction"]),
        ("MEANDARK", file["mean_dark_count"] or None),
        ("FLATCORR", file["flat_correction"]),
        ("PFLTFILE", file["flat_file"]),
        ("PHOTFLAM", file["photflam_erg_s_cm2_a"]),
    ]
    header = "".join(f", {word} = {value}" for word, value in words if value is not None)
    tell(f"  {file['kind']}, {file['state']}, {file['size_byte'] / 1e6:.2f} MB{header}")
    tell(f"  {_place(file['uri'])}")


def _place(uri: str) -> str:
    try:
        return str(local_path(uri))
    except BadFileError:
        return uri


def _print_selection(known: Mapping[str, Any]) -> None:
    tell(f"Selection {known['selection']}: darks for {known['exposure']} by the rule {known['rule']}")
    _fact("tier", known["tier"])
    _fact("stored", f"{minute(known['created_utc'])} UTC", f"by sbcdark {known['software_version']}")
    _fact("catalog", f"revision {known['catalog_revision']}")
    wanted = {key: value for key, value in known["parameters"].items() if value is not None}
    _fact("parameters", *(f"{key} = {_said(value)}" for key, value in wanted.items()))
    for warning in known["warnings"]:
        _fact("warning", warning)
    title = "\nDifferences are science minus dark; rates in 1e-6 count/s/pixel"
    if any(dark["role"] for dark in known["darks"]):
        title += f"\n{_ABOUT_ROLES}"
    print_table(known["darks"], _DARKS, title)
    if known["products"]:
        _print_products(known["products"], "Products that use it")
    else:
        tell("")
        tell("No product uses it.")


def _print_products(products: Sequence[Mapping[str, Any]], title: str) -> None:
    if not products:
        return
    tell("")
    tell(title)
    files: dict[tuple[str, ...], list[str]] = {}
    for one in products:
        numbers = one["selections"]
        chosen = f"selection{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
        made = f"made {minute(one['created_utc'])} UTC from {chosen}"
        files.setdefault((one["product"], made, _place(one["uri"])), []).append(one["kind"])
    for (name, made, place), kinds in files.items():
        tell(f"  {' and '.join(kinds)} of {name}, {made}")
        tell(f"  {place}{'' if '://' in place or Path(place).exists() else ' (missing)'}")


def _said(value: Any) -> str:
    return " ".join(str(one) for one in value) if isinstance(value, list) else str(value)

"""The answers of the server as OpenAPI describes them, made from the records whose fields are the keys."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from sbcdark.catalog.overview import Overview, ProgramOverview, RunOverview
from sbcdark.catalog.records import ExposureRecord, RejectedDark, ScoredDark
from sbcdark.catalog.result_records import PhotometryRecord
from sbcdark.pipeline.frames.tables import description_of
from sbcdark.pipeline.selection.reasons import Check, Explanation
from sbcdark.pipeline.views.json_forms import DARK_KEYS

if TYPE_CHECKING:
    from collections.abc import Iterable

Schema = dict[str, Any]

_TYPES: dict[str, Schema] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "datetime": {"type": "string", "format": "date-time"},
}
_NESTED = {one.__name__: one for one in (Check, ProgramOverview, RunOverview)}


def _list_of(item: Schema) -> Schema:
    return {"type": "array", "items": item}


def _type(written: str) -> Schema:
    """Return the schema of an annotation as it is written, ``float | None`` or ``tuple[str, ...]``."""
    name, _, absent = written.partition(" | ")
    if name.startswith("tuple["):
        return _list_of(_type(name.removeprefix("tuple[").removesuffix(", ...]")))
    schema = _record(_NESTED[name]) if name in _NESTED else dict(_TYPES.get(name, {"type": "object"}))
    return schema | {"type": [schema["type"], "null"]} if absent == "None" else schema


def _object(keys: dict[str, Schema]) -> Schema:
    described = {
        key: schema | {"description": text} if (text := description_of(key)) else schema for key, schema in keys.items()
    }
    return {"type": "object", "properties": described, "required": list(keys)}


def _keys(record: type, only: Iterable[str] = ()) -> dict[str, Schema]:
    types = {one.name: _type(str(one.type)) for one in fields(record)}
    return {name: types[name] for name in only} if only else types


def _record(record: type) -> Schema:
    return _object(_keys(record))


def _plainly(**keys: str) -> dict[str, Schema]:
    return {key: _type(written) for key, written in keys.items()}


_DARK, _WORDS, _OBJECTS = _keys(ScoredDark, DARK_KEYS), _type("tuple[str, ...]"), _type("tuple[object, ...]")
_STORED = _plainly(
    selection="int", rule="str", tier="str", created_utc="datetime", catalog_revision="int", software_version="str"
)
_SHOWN = _keys(ExposureRecord) | _plainly(
    exposure_flag="str | None", observation_quality="str | None", guide_star_lock="str | None",
    files="tuple[object, ...]", measurements="tuple[object, ...]", quality_notes="tuple[object, ...]",
    selections="tuple[object, ...]", products="tuple[object, ...]",
)  # fmt: skip
_ASSOCIATION = {
    **_plainly(association="str", program="int | None", target="str | None"),
    "members": _WORDS,
    "absent": _WORDS,
    "exposures": _list_of(_record(ExposureRecord)),
    "products": _OBJECTS,
}

EXPOSURES = _list_of(_record(ExposureRecord))
SHOWN = {"anyOf": [_object(_SHOWN), _object(_ASSOCIATION)]}
MATCHES = _list_of(
    _object(
        _plainly(exposure="str", rule="str", tier="str")
        | {"darks": _list_of(_object(_DARK)), "nearest_rejected": _list_of(_record(RejectedDark)), "warnings": _WORDS}
        | {"templates": _list_of(_object(_DARK | _keys(ScoredDark, ["role"])))}
    )
)
EXPLANATIONS = _list_of(_record(Explanation))
SELECTIONS = _list_of(_object(_STORED | {"darks": _WORDS}))
_TERMS = [one.name for one in fields(ScoredDark) if one.name not in {"file", "file_id"}]
SELECTION = _object(
    _STORED
    | _plainly(exposure="str", parameters="object")
    | {"warnings": _WORDS, "products": _OBJECTS}
    | {"darks": _list_of(_object(_keys(ScoredDark, _TERMS) | _plainly(file_state="str")))}
)
PHOTOMETRY = _list_of(_record(PhotometryRecord))
STATUS = _object(_plainly(catalog="str") | _keys(Overview))


def answers(schema: Schema) -> dict[int | str, dict[str, Any]]:
    """Return what FastAPI adds to the description of a route for its good answer."""
    return {200: {"content": {"application/json": {"schema": schema}}}}

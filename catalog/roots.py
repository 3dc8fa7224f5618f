"""Named roots: folders that every machine of a group has, each at a place of its own.

A file below a root is stored as ``root://NAME/path``, so that machines with other mount points find the same file.
Other files are stored as ``file:///path``. Each machine says where its roots are, as ``NAME=/path``, in the variable
`SBCDARK_ROOTS` or else in a settings file.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

import sqlalchemy as sa

from sbcdark.catalog import models
from sbcdark.catalog.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.orm import Session

VARIABLE = "SBCDARK_ROOTS"
"""``NAME=/path``; several are separated by colons."""

SCHEME = "root"

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,30}")


def settings_file() -> Path:
    """Return the file that names the roots where `SBCDARK_ROOTS` does not, one ``NAME=/path`` a line."""
    return _settings_file(os.environ.get("HOME"), os.environ.get("XDG_CONFIG_HOME"))


@lru_cache(maxsize=8)
def _settings_file(_home: str | None, _config: str | None) -> Path:
    # It is asked for with every file, and platformdirs takes as long as a query.
    from platformdirs import user_config_path  # noqa: PLC0415  needed only where files are read

    return user_config_path("sbcdark") / "roots"


def roots() -> Mapping[str, Path]:
    """Return the folder of each root on this machine.

    Raises
    ------
    UsageError
        A root is malformed.
    """
    given = os.environ.get(VARIABLE)
    if given is not None:
        return _parsed(tuple(given.split(os.pathsep)), VARIABLE)
    file = settings_file()
    try:
        changed = file.stat().st_mtime_ns
    except OSError:
        return {}
    return _parsed(_lines(file, changed), str(file))


@lru_cache(maxsize=8)
def _lines(file: Path, _mtime_ns: int) -> tuple[str, ...]:
    try:
        return tuple(file.read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} cannot be read: {error}.", f"Correct it, or set {VARIABLE}.") from error


@lru_cache(maxsize=8)
def _parsed(entries: tuple[str, ...], where: str) -> Mapping[str, Path]:
    found: dict[str, Path] = {}
    for entry in entries:
        text = entry.strip()
        if not text or text.startswith("#"):
            continue
        name, _, folder = (part.strip() for part in text.partition("="))
        if _NAME.fullmatch(name) is None or not Path(folder).is_absolute():
            what = f"{where}: {text!r} is not NAME=/path."
            raise UsageError(what, "Write e.g. archive=/data/hst; names are in lower case.")
        if name in found:
            raise UsageError(f"{where}: the root {name!r} is named twice.", "Name each root once.")
        found[name] = Path(os.path.realpath(folder))
    return found


def uri_of(path: Path) -> str:
    """Return the URI of an absolute path: below the innermost root, or else ``file://``."""
    inside = [(name, folder) for name, folder in roots().items() if path.is_relative_to(folder)]
    if not inside:
        return path.as_uri()
    name, folder = max(inside, key=lambda one: len(one[1].parts))
    return f"{SCHEME}://{name}/{quote_from_bytes(os.fsencode(path.relative_to(folder)))}"


def is_local(uri: str) -> bool:
    """Return whether a URI is that of a file that this machine can open, not of one on a server."""
    return uri.startswith(("file:", f"{SCHEME}:"))


def path_of(uri: str) -> Path:
    """Return the path of a `file:` or `root:` URI on this machine.

    Raises
    ------
    UsageError
        The root is not known on this machine.
    """
    parts = urlsplit(uri)
    path = Path(os.fsdecode(unquote_to_bytes(parts.path)))
    if parts.scheme == "file":
        return path
    folder = roots().get(parts.netloc)
    if folder is None:
        raise UsageError(
            f"{uri} lies below the root {parts.netloc!r}, which this machine does not know.",
            f"Say where it is mounted: export {VARIABLE}={parts.netloc}=/path",
        )
    # A URI is text of a database: it never leaves its root.
    inside = os.path.normpath(folder / path.relative_to("/"))
    if not Path(inside).is_relative_to(folder):
        raise UsageError(f"{uri} leads out of its root.", "Ingest the file again.")
    return Path(inside)


def adopt(session: Session) -> int:
    """Rename the files and products below a root that were stored by their path; return their number."""
    renamed = 0
    for name, folder in roots().items():
        old, new = f"{folder.as_uri()}/", f"{SCHEME}://{name}/"
        for model in (models.File, models.Product):
            table = model.__table__
            twin = table.alias()
            target = sa.literal(new) + sa.func.substr(table.c.uri, len(old) + 1)
            below = table.c.uri.startswith(old, autoescape=True)
            if session.scalar(sa.select(table.c.id).where(below).limit(1)) is None:
                continue
            there = [below]
            if model is models.File:
                # Stored below the root, too: both rows stay.
                there.append(~sa.exists().where(twin.c.uri == target, twin.c.state != "changed"))
            result = session.connection().execute(sa.update(model).where(*there).values(uri=target))
            renamed += result.rowcount
    return renamed

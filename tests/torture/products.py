"""What lies in a folder of products: whole or half-written, and what belongs there."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa
from astropy.io import fits
from astropy.table import Table

from sbcdark.pipeline.frames.untrusted_fits import local_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PNG_END = b"IEND\xaeB`\x82"


def pixel_sums(folder: Path) -> dict[str, str]:
    """Return a checksum of the pixels of every product in a folder, by its name."""
    return {path.name: _pixels(path) for path in sorted(folder.glob("*.fits"))}


def _pixels(path: Path) -> str:
    with fits.open(path, memmap=False) as hdus:
        digest = hashlib.sha256()
        for hdu in (hdu for hdu in hdus if hdu.is_image and hdu.data is not None):
            digest.update(np.asarray(hdu.data).astype("<f4").tobytes())
        return digest.hexdigest()


def half_written(folder: Path, wanted: Mapping[str, str]) -> list[str]:
    """Return the files under a final name that are not whole, or whose pixels are not the undisturbed ones."""
    found = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.suffix == ".log":
            continue
        try:
            if path.suffix == ".fits":
                if wanted.get(path.name) != _pixels(path):
                    found.append(f"{path.name} has other pixels")
            elif path.suffix == ".ecsv":
                Table.read(path)
            elif not path.read_bytes().endswith(_PNG_END):
                found.append(f"{path.name} is cut off")
        except Exception as error:  # noqa: BLE001  whatever keeps it from being read makes it no whole product
            found.append(f"{path.name} cannot be read: {type(error).__name__}: {error}")
    return found


def surplus(folder: Path, wanted: set[str]) -> list[str]:
    """Return what a run left beside its products."""
    return [f"in the folder of products: {path.name}" for path in sorted(folder.iterdir()) if path.name not in wanted]


def missing(folder: Path, wanted: set[str]) -> list[str]:
    """Return the products that are not there."""
    return [f"no product {name}" for name in sorted(wanted - {path.name for path in folder.iterdir()})]


def dangling(engine: sa.Engine) -> list[str]:
    """Return the rows whose file is not there, or is not the one that was recorded last under its name."""
    found = []
    last: dict[str, str] = {}
    with engine.connect() as connection:
        for row in connection.execute(sa.text("SELECT uri, sha256 FROM products ORDER BY id")):
            last[row.uri] = row.sha256
        files = connection.scalars(sa.text("SELECT uri FROM files WHERE state = 'present'")).all()
    for uri, sha256 in last.items():
        path = local_path(uri)
        if not path.is_file():
            found.append(f"a product's row leads to {path.name}, which is not there")
        elif hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
            found.append(f"a product's row has another checksum than {path.name}")
    return found + [
        f"a file's row leads to {uri}, which is not there" for uri in files if not local_path(uri).is_file()
    ]

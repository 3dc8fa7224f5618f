"""The catalog of the real files, and the flat of the stand-ins, for the tests of products."""

from __future__ import annotations

import gzip
import shutil
from typing import TYPE_CHECKING

import pytest

from sbcdark.catalog.opening import open_catalog

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa


@pytest.fixture(scope="module")
def flats(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds the stand-ins' flat, unpacked, as `jref` would."""
    folder = tmp_path_factory.mktemp("jref")
    packed = shared_data / "science_13655_standin" / "sbc_standin_pfl.fits.gz"
    (folder / "sbc_standin_pfl.fits").write_bytes(gzip.decompress(packed.read_bytes()))
    return folder


@pytest.fixture(scope="module")
def catalog(real_file: Path, tmp_path_factory: pytest.TempPathFactory) -> sa.Engine:
    return open_catalog(shutil.copy(real_file, tmp_path_factory.mktemp("catalog")))

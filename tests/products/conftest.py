"""The catalog of the real files for the tests of products."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from sbcdark import Catalog
from sbcdark.catalog.opening import open_catalog

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa


@pytest.fixture(scope="module")
def catalog(real_file: Path, tmp_path_factory: pytest.TempPathFactory) -> sa.Engine:
    return open_catalog(shutil.copy(real_file, tmp_path_factory.mktemp("catalog")))


@pytest.fixture(scope="module")
def cat(catalog: sa.Engine) -> Catalog:
    return Catalog(catalog)

"""Pictures of a whole catalog: drawn from real exposures, in each format, and refused where they make no sense."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from sbcdark import Catalog
from sbcdark.catalog.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy as sa


@pytest.mark.parametrize(("kind", "exposure"), [("coverage", None), ("history", None), ("match", "JCMC11E6Q")])
def test_pictures_are_drawn(real_catalog: sa.Engine, tmp_path: Path, kind: str, exposure: str | None) -> None:
    from matplotlib.image import imread  # noqa: PLC0415

    catalog = Catalog(real_catalog)
    path = catalog.plot(kind, tmp_path / f"{kind}.png", exposure=exposure)
    image = imread(path)
    # A picture with axes, points and a margin: no edge is drawn upon, and some hundredths of it are ink.
    ink = image[..., :3].min(axis=2) < 0.9
    assert 0.01 < ink.mean() < 0.5
    for edge in (ink[0], ink[-1], ink[:, 0], ink[:, -1]):
        assert not edge.any()
    before = path.read_bytes()
    with pytest.raises(UsageError, match="already exists"):
        catalog.plot(kind, path, exposure=exposure)
    assert path.read_bytes() == before
    assert catalog.plot(kind, path, exposure=exposure, overwrite=True) == path


@pytest.mark.parametrize(("ending", "begins"), [("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_the_ending_says_the_format(real_catalog: sa.Engine, tmp_path: Path, ending: str, begins: bytes) -> None:
    path = Catalog(real_catalog).plot("coverage", tmp_path / f"x.{ending}")
    assert path.read_bytes().startswith(begins)


def test_colours_are_told_apart() -> None:
    from sbcdark.pipeline.views.drawing import PALETTE  # noqa: PLC0415

    values = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for colour in PALETTE], dtype=float)
    distances = np.linalg.norm(values[:, None] - values[None], axis=2) + 1e3 * np.eye(len(values))
    assert distances.min() > 60


def test_what_cannot_be_drawn_is_refused(real_catalog: sa.Engine, tmp_path: Path) -> None:
    catalog = Catalog(real_catalog)
    for kind, name, reason in (
        ("sky", "a.png", "There is no picture 'sky'"),
        ("coverage", "a.gif", "gives no picture format"),
        ("match", "a.png", "of an exposure"),
    ):
        with pytest.raises(UsageError, match=reason):
            catalog.plot(kind, tmp_path / name)
    assert list(tmp_path.glob("a.*")) == []


def test_an_empty_catalog_has_nothing_to_draw(empty_catalog: sa.Engine, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no darks to draw"):
        Catalog(empty_catalog).plot("history", tmp_path / "a.png")

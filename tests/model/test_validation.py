"""The leave-one-out test: what it finds on sound darks, and on darks that are not alike."""

from __future__ import annotations

import numpy as np
import pytest

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.detector.dark_shape import base_map, glow_map
from sbcdark.pipeline.model.templates import DarkFrame
from sbcdark.pipeline.model.validation import MODEL, PUBLISHED, SCALED, Validation, random_apertures, validate

pytestmark = pytest.mark.slow

BASE = 7.5e-6  # count/s/pixel
AMPLITUDES = (0, 0, 0, 5e-6, 1e-5, 2e-5, 3e-5, 4e-5)


def darks(*, shift: int = 0) -> list[DarkFrame]:
    rng = np.random.default_rng(21)
    frames = []
    for j, amplitude in enumerate(AMPLITUDES):
        glow = np.roll(glow_map(), shift * (j % 2), axis=1)
        rate = BASE * base_map() + amplitude * glow
        frames.append(DarkFrame(f"dark{j}", rng.poisson(rate * 1000), 1000.0))
    return frames


@pytest.fixture(scope="module")
def sound() -> Validation:
    return validate(darks(), skies=(0.0, 1e-5), apertures=12)


def test_sound_darks_are_at_the_photon_limit(sound: Validation) -> None:
    rows = {(row.method, row.frames, row.sky_count_s_pix): row for row in sound.rows}
    assert len(rows) == 3 * 2 * 2
    for frames in ("warm", "cold"):
        for sky in (0.0, 1e-5):
            model = rows[MODEL, frames, sky]
            assert model.rms < 1.10 + 2 * model.rms_err
            assert model.pull is not None
            assert model.pull_err is not None
            assert abs(model.pull) < 0.1 + 2 * model.pull_err
            assert model.rms < rows[PUBLISHED, frames, sky].rms
            assert rows[SCALED, frames, sky].pull is None
    assert sound.holds
    assert "hold:" in sound.verdict


@pytest.mark.long
def test_glow_that_lies_elsewhere_is_noticed(sound: Validation) -> None:
    found = validate(darks(shift=60), apertures=12)
    assert found.drift > 0.04 > 2 * sound.drift
    # The stated errors hold, since they carry the misfit; those of counting statistics alone do not.
    assert found.holds
    assert "does not keep its shape" in found.verdict
    assert "errors at the photon limit do not hold" in found.verdict
    worst = max(row.rms for row in found.rows if row.method == MODEL)
    assert f"{worst:.2f} times too small" in found.verdict
    assert "does not keep its shape" not in sound.verdict


@pytest.mark.long
def test_years_are_predicted_from_the_others() -> None:
    groups = {f"dark{j}": str(2015 + j % 2) for j in range(len(AMPLITUDES))}
    found = validate(darks(), apertures=4, groups=groups)
    assert found.groups == ("2015", "2016")
    assert validate(darks(), apertures=4, groups=dict.fromkeys(groups, "2015")).groups == ()


def test_two_darks_are_too_few() -> None:
    with pytest.raises(UsageError, match="needs 3 darks"):
        validate(darks()[:2])


def test_apertures_are_the_same_for_one_seed() -> None:
    first, again, other = (random_apertures(3, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])
    assert all(500 <= aperture.sum() <= 20_100 for aperture in first)

"""Templates are kept, and the answer is the same with and without."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import fields, replace
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.estimation import template_cache
from sbcdark.pipeline.estimation.template_cache import comparison_of, templates_of
from sbcdark.pipeline.model.templates import build_templates

if TYPE_CHECKING:
    from pathlib import Path

    from sbcdark.pipeline.model.templates import DarkFrame, Templates


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use a cache folder of the test's own, as a new process would find it."""
    monkeypatch.setenv("SBCDARK_CACHE", str(tmp_path))
    monkeypatch.setattr(template_cache, "_latest", {})
    return tmp_path / "templates"


def forget() -> None:
    """Forget the templates in memory, so that the next call looks into the folder."""
    template_cache._latest.clear()


def bits(one: Any) -> list[Any]:
    """Return every value of a record of arrays, exactly."""
    found: list[Any] = []
    for field in fields(one):
        value = getattr(one, field.name)
        if isinstance(value, np.ndarray):
            found.append((field.name, value.dtype.str, value.shape, value.tobytes()))
        else:
            found.append((field.name, bits(value) if hasattr(value, "scatter") else repr(value)))
    return found


@pytest.mark.parametrize("number", [1, 4, 20])
def test_kept_templates_are_the_same_to_the_last_bit(folder: Path, darks: list[DarkFrame], number: int) -> None:
    made = build_templates(darks[-number:])
    first = templates_of(darks[-number:])
    forget()
    kept = templates_of(darks[-number:])
    assert kept is not first
    assert bits(first) == bits(made)
    assert bits(kept) == bits(made)
    assert [path.suffix for path in folder.iterdir()] == [".npz"]


def test_any_difference_of_the_darks_is_another_entry(folder: Path, darks: list[DarkFrame]) -> None:
    pair = darks[:2]
    other = pair[0].counts.copy()
    other[500, 500] += 1
    sets = [
        pair,
        pair[:1],
        [replace(pair[0], counts=other), pair[1]],
        [replace(pair[0], exptime_s=999.0), pair[1]],
        [replace(pair[0], rootname="jcrx01zzz"), pair[1]],
    ]
    for number, one in enumerate(sets, 1):
        templates_of(one)
        assert len(list(folder.iterdir())) == number


def test_order_of_the_darks_does_not_matter(folder: Path, darks: list[DarkFrame]) -> None:
    some = darks[:3]
    first = templates_of(some)
    forget()
    other = templates_of(some[::-1])
    assert bits(other) == bits(first)
    assert other.darks == first.darks == tuple(sorted(one.rootname for one in some))
    assert len(list(folder.iterdir())) == 1


def test_comparison_of_the_darks_is_kept(folder: Path, darks: list[DarkFrame], monkeypatch: pytest.MonkeyPatch) -> None:
    counts = darks[0].counts.copy()
    counts[480:520, 380:420] += 1
    spotted = [replace(darks[0], counts=counts), *darks[1:]]
    made = comparison_of(spotted)
    assert [one.dark for one in made.spots] == [darks[0].rootname]
    forget()
    assert comparison_of(spotted) == made
    assert len(list(folder.iterdir())) == 1
    monkeypatch.setenv("SBCDARK_TEMPLATES_LIMIT", "0")
    forget()
    assert comparison_of(spotted) == made


def test_damaged_file_is_made_anew(folder: Path, darks: list[DarkFrame]) -> None:
    made = bits(templates_of(darks[:2]))
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 1
    for damaged in (b"", whole[:1000], whole[: len(whole) - 10], bytes(flipped), b"PK" * 5000):
        path.write_bytes(damaged)
        forget()
        assert bits(templates_of(darks[:2])) == made
        assert path.read_bytes() != damaged


def test_size_is_bounded_and_the_cache_can_be_off(
    folder: Path, darks: list[DarkFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SBCDARK_TEMPLATES_LIMIT", "40")
    for number in range(4):
        templates_of(darks[number : number + 2])
    kept = list(folder.iterdir())
    assert len(kept) == 2
    assert sum(path.stat().st_size for path in kept) <= 40e6
    monkeypatch.setenv("SBCDARK_TEMPLATES_LIMIT", "0")
    templates_of(darks[5:7])
    assert list(folder.iterdir()) == kept
    monkeypatch.setenv("SBCDARK_TEMPLATES_LIMIT", "much")
    with pytest.raises(UsageError, match="SBCDARK_TEMPLATES_LIMIT = 'much'"):
        templates_of(darks[:2])


def test_folder_that_cannot_be_written_keeps_nothing(
    tmp_path: Path, darks: list[DarkFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("SBCDARK_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(template_cache, "_latest", {})
    assert bits(templates_of(darks[:2])) == bits(build_templates(darks[:2]))


def _templates(darks: list[DarkFrame]) -> Templates:
    return templates_of(darks)


@pytest.mark.slow
def test_processes_at_once_leave_one_whole_file(folder: Path, darks: list[DarkFrame]) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        made = [bits(one) for one in pool.map(_templates, [darks[:3]] * 4)]
    assert all(one == bits(build_templates(darks[:3])) for one in made)
    assert len(list(folder.glob("*.npz"))) == 1
    assert not list(folder.glob("*.part"))

"""A broken file is refused whichever other files are read, or finished, at the same time."""

from __future__ import annotations

import warnings
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from astropy.utils.exceptions import AstropyUserWarning

from sbcdark.pipeline.frames.strict_warnings import STRICT_WARNINGS


def test_the_end_of_one_reader_does_not_relax_the_other() -> None:
    before = list(warnings.filters)
    both, one_is_done = Barrier(2, timeout=20), Barrier(2, timeout=20)

    def first() -> None:
        with STRICT_WARNINGS:
            both.wait()
        one_is_done.wait()

    def second() -> None:
        with STRICT_WARNINGS:
            both.wait()
            one_is_done.wait()
            warnings.warn("File may have been truncated", AstropyUserWarning, stacklevel=1)

    with ThreadPoolExecutor(2) as pool:
        ended = [pool.submit(first), pool.submit(second)]
        ended[0].result()
        with pytest.raises(AstropyUserWarning, match="truncated"):
            ended[1].result()
    assert warnings.filters == before

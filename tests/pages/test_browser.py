"""The pages in a real browser: no fault, nothing from elsewhere, tables that work, on a phone and for screen readers.

Chromium is the system's own. `make test-slow` fetches axe-core, which checks the accessibility, where npm is there.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import sqlalchemy as sa
from serving import serving
from twin_archive import CHECKOUT

from sbcdark import Catalog
from sbcdark.catalog import models
from sbcdark.catalog.engine import writing
from sbcdark.catalog.opening import open_catalog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import MadeOnce
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.slow

_EVIL = "<script>alert(1)</script>"
_SIZES = [(390, 844), (1280, 900)]
_PLOTS = {
    "coverage": None,
    "history": None,
    "match": "jzzs11b1q",
    "fit": "jzzs11b1q",
    "templates": "jzzs11b1q",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return Chromium; without it the test is skipped."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  only these tests need it

    program = next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no browser: install Debian's package chromium")
    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def axe() -> Path:
    """Return axe-core; without it the test is skipped."""
    path = Path(sys.prefix) / "axe.min.js"
    if not path.exists():
        pytest.skip(f"no axe-core: {path} is missing; `make test-slow` fetches it where npm is there")
    return path


@pytest.fixture(scope="module")
def demo(made_once: MadeOnce) -> Path:
    """Return a folder with the demonstration, whose headers are hostile, and its report."""

    def make(folder: Path) -> None:
        from sbcdark.pipeline.simulation.demo import demonstrate  # noqa: PLC0415  only these tests need it

        demonstrate(folder)
        engine = open_catalog(folder / "catalog.db")
        with writing(engine) as session:
            session.execute(sa.update(models.Exposure).values(target=_EVIL, quality_reason=_EVIL))
            session.execute(sa.update(models.Association).values(target=_EVIL))
        engine.dispose()

        catalog = Catalog(folder / "catalog.db")
        catalog.report(folder / "report", overwrite=True)
        (folder / "plots").mkdir()
        for kind, exposure in _PLOTS.items():
            catalog.plot(kind, exposure or (), folder / "plots" / f"{kind}.html", flat=folder / "archive")

    return made_once("pages-demo", make)


class _Watched:
    """A page with what goes wrong on it."""

    def __init__(self, browser: Browser, size: tuple[int, int], scheme: Any = "light") -> None:
        self.wrong: list[str] = []
        self.context = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda said: said.type in {"error", "warning"} and self.wrong.append(said.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("requestfailed", lambda asked: self.wrong.append(f"failed: {asked.url}"))
        self.page.on("request", lambda asked: self._check(asked.url))
        self.page.on("dialog", lambda dialog: (self.wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))

    def _check(self, url: str) -> None:
        if not url.startswith(("file:", "data:", "blob:", "http://127.0.0.1:")):
            self.wrong.append(f"outside: {url}")

    def open(self, address: str) -> Page:
        """Open an address and wait until it is drawn."""
        self.page.goto(address, wait_until="load")
        if address.endswith(tuple(f"{kind}.html" for kind in _PLOTS)):
            self.page.wait_for_selector("canvas", state="attached")
            self.page.wait_for_function("Bokeh.documents[0].roots()[0].background_fill_color !== null")
        return self.page


@pytest.mark.parametrize("size", _SIZES)
def test_every_page_opens_without_a_fault_and_fits_the_screen(
    browser: Browser, demo: Path, size: tuple[int, int]
) -> None:
    watched = _Watched(browser, size)
    pages = sorted(path for folder in ("report", "plots") for path in (demo / folder).rglob("*.html"))
    assert len(pages) > 30
    for path in pages:
        page = watched.open(path.as_uri())
        assert watched.wrong == [], path.name
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), path.name
        page.evaluate("for (const one of document.images) one.loading = 'eager'")
        page.wait_for_function("Array.from(document.images).every((one) => one.complete && one.naturalWidth > 0)")
    association = watched.open((demo / "report" / "associations" / "jzzs11010.html").as_uri())
    assert association.get_by_text(_EVIL).count() > 0
    watched.context.close()


def test_a_finger_hits_every_link_and_button(browser: Browser, demo: Path) -> None:
    watched = _Watched(browser, _SIZES[0])
    names = ["index", "exposures", "associations/jzzs11010", "exposures/jzzs11b1q", "exposures/jzzd02a6q"]
    for name in names:
        page = watched.open((demo / "report" / f"{name}.html").as_uri())
        low = """() => [...document.querySelectorAll("main a, nav a, button, input")]
            .filter((one) => { const height = one.getBoundingClientRect().height; return height > 0 && height < 24; })
            .map((one) => one.textContent)"""
        assert page.evaluate(low) == [], name
    watched.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_has_a_fault_of_accessibility(browser: Browser, demo: Path, axe: Path, scheme: str) -> None:
    watched = _Watched(browser, _SIZES[1], scheme)
    names = ["index", "exposures", "associations/jzzs11010", "exposures/jzzs11b1q", "exposures/jzzd02a6q"]
    for name in [*(f"report/{name}" for name in names), *(f"plots/{kind}" for kind in _PLOTS)]:
        page = watched.open((demo / f"{name}.html").as_uri())
        page.add_script_tag(path=axe)
        found = page.evaluate("axe.run()")
        faults = [
            (one["id"], node["html"])
            for one in found["violations"]
            if one["impact"] != "minor"
            for node in one["nodes"]
        ]
        assert faults == [], name
        assert len(found["passes"]) > 5
    watched.context.close()


def test_tables_sort_and_filter_with_mouse_and_keyboard(browser: Browser, demo: Path) -> None:
    watched = _Watched(browser, _SIZES[1])
    page = watched.open((demo / "report" / "exposures.html").as_uri())

    def column(number: int) -> list[str]:
        texts: list[str] = page.locator(f"tbody tr:visible > :nth-child({number})").all_inner_texts()
        return texts

    heading = page.locator("thead th", has_text="T mean (C)")
    heading.get_by_role("button").click()
    temperatures = [float(text) for text in column(7)]
    assert temperatures == sorted(temperatures)
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.get_by_role("button").press("Enter")
    assert [float(text) for text in column(7)] == sorted(temperatures, reverse=True)
    assert heading.get_attribute("aria-sort") == "descending"
    everything = len(column(1))
    page.get_by_label("Filter").fill("science f165lp")
    assert set(column(2)) == {"science"}
    assert 0 < len(column(1)) < everything
    assert page.locator("output").inner_text() == f"{len(column(1))} of {everything} rows"
    page.get_by_label("Filter").fill("")
    assert len(column(1)) == everything
    page.keyboard.press("Shift+Tab")
    watched.open((demo / "report" / "index.html").as_uri()).keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    watched.context.close()


def test_pictures_react(browser: Browser, demo: Path) -> None:
    watched = _Watched(browser, _SIZES[1])
    for name in ("coverage", "history"):
        page = watched.open((demo / "report" / f"{name}.html").as_uri())
        start = "Bokeh.documents[0].roots().map((one) => one.x_range.start)"
        before = page.evaluate(start)
        page.mouse.move(600, 250)
        page.mouse.down()
        page.mouse.move(500, 250, steps=5)
        page.mouse.up()
        page.wait_for_function(f"{start}[0] !== {before[0]}")
        # The panels of the history move together.
        assert len(set(page.evaluate(start))) == 1
    assert watched.wrong == []
    watched.context.close()


def test_pictures_follow_the_scheme(browser: Browser, demo: Path) -> None:
    watched = _Watched(browser, _SIZES[1], "dark")
    for kind in _PLOTS:
        page = watched.open((demo / "plots" / f"{kind}.html").as_uri())
        grounds = "[...new Set(Bokeh.documents[0].roots().map((one) => one.background_fill_color))]"
        (dark,) = page.evaluate(grounds)
        assert dark == "#14181d"
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 29)"
        page.emulate_media(color_scheme="light")
        page.wait_for_function(f"{grounds}[0] === '#ffffff'")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        page.emulate_media(color_scheme="dark")
    assert watched.wrong == []
    watched.context.close()


def test_the_picture_of_the_readme_is_that_of_the_demonstration(demo: Path) -> None:
    """After a change of the picture: its size in docs, 256 colours. They alone change it by less than a level."""
    from PIL import Image  # noqa: PLC0415  only here

    with Image.open(CHECKOUT / "docs" / "fit.png") as kept:
        shown = np.asarray(kept.convert("RGB"), dtype=np.float64)
        size = kept.size
    with Image.open(demo / "products" / "jzzs11020_sbcdark_jzzs11b1q_fit.png") as made:
        drawn = np.asarray(made.convert("RGB").resize(size, Image.Resampling.LANCZOS), dtype=np.float64)
    assert np.abs(shown - drawn).mean() < 1.0


def test_the_served_pages_are_the_same(browser: Browser, demo: Path) -> None:
    watched = _Watched(browser, _SIZES[0])
    with serving(f"sqlite:///{demo / 'catalog.db'}") as server:
        for name in ("", "exposures.html", "associations/jzzs11010.html", "exposures/jzzs11b1q.html", "coverage.html"):
            page = watched.open(f"http://127.0.0.1:{server.port}/{name}")
            assert watched.wrong == [], name
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), name
        page = watched.open(f"http://127.0.0.1:{server.port}/")
        page.get_by_role("link", name="jzzs11020").click()
        page.get_by_role("heading", name="jzzs11020").wait_for()
        assert page.get_by_role("row", name="ellipse@").count() == 1
        watched.context.close()

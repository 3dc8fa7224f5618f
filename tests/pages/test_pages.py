"""The static pages: complete, self-contained, with header text as text, and careful with what is in the folder."""

from __future__ import annotations

import json
import os
import re
from html import unescape
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest
import sqlalchemy as sa
from astropy.table import QTable

from sbcdark import Catalog
from sbcdark.catalog import models
from sbcdark.catalog.engine import writing
from sbcdark.catalog.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

_EVIL = "<script>alert(1)</script>"


class _Page(HTMLParser):
    """The addresses and the scripts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline_scripts = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.addresses += [value for key in ("href", "src") if (value := given.get(key)) is not None]
        self.inline_scripts += tag == "script" and "src" not in given


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({}, "none"),
        (None, "none"),
        (False, "no"),
        (0.025, "0.025"),
        ([10.0, 12.5], "10; 12.5"),
        ("model", "model"),
        (["circle:7,8,9", "box:1,2,3,4"], "circle:7,8,9; box:1,2,3,4"),
        (
            {"jcmc11e6q": {"name": "a.fits", "sha256": "0f"}, "jcmc11ctq": []},
            "jcmc11e6q: name: a.fits, sha256: 0f\njcmc11ctq: none",
        ),
    ],
)
def test_parameters_are_written_for_reading(value: object, text: str) -> None:
    from sbcdark.pipeline.pages.rendering import _as_text  # noqa: PLC0415

    assert _as_text(value) == text


def test_a_long_text_breaks_after_a_comma_and_stays_text() -> None:
    from sbcdark.pipeline.pages.rendering import _breaks  # noqa: PLC0415

    assert _breaks("circle:7,8,<b>9") == "circle:7,<wbr>8,<wbr>&lt;b&gt;9"


def test_every_link_of_every_page_leads_to_a_file_of_the_report(real_catalog: sa.Engine, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    made = Catalog(real_catalog).report(folder)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert made.index == folder / "index.html"
    assert len(files) == made.files + 1  # and the list of the files
    names = {path.stem for path in (folder / "exposures").iterdir()}
    assert names == {one.rootname for one in Catalog(real_catalog).list_exposures()}
    linked = set()
    for path in folder.rglob("*.html"):
        if path.name in {"coverage.html", "history.html"}:
            continue
        page = _Page(path.read_text(encoding="utf-8"))
        assert page.inline_scripts == 0
        for address in page.addresses:
            if address.startswith(("#", "data:")):
                continue
            assert not re.match(r"[a-z]+:|//", address), address
            target = (path.parent / unquote(address)).resolve()
            assert target.is_file(), (path, address)
            linked.add(str(target.relative_to(folder.resolve())))
    assert files - linked == {"sbcdark-report.json"}


def test_pages_say_what_the_catalog_says(real_catalog: sa.Engine, tmp_path: Path) -> None:
    catalog = Catalog(real_catalog)
    catalog.retire("jcrx01j2q", "it looks odd")
    catalog.report(tmp_path / "report")
    index = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert re.search(r"<dt>darks</dt><dd>20</dd>", index)
    assert "it looks odd" in index
    page = (tmp_path / "report" / "exposures" / "jcmc11e6q.html").read_text(encoding="utf-8")
    found = catalog.match("jcmc11e6q")
    ranked = re.findall(r'<td class="n">\d+</td>\s*<th scope="row">\s*<a href="../exposures/(\w+)\.html">', page)
    assert ranked == [dark.dark for dark in found.darks]
    for rejected in found.nearest_rejected:
        assert rejected.reason in page
    dark = (tmp_path / "report" / "exposures" / "jcrx01j2q.html").read_text(encoding="utf-8")
    assert "retired" in dark
    assert "it looks odd" in dark
    association = (tmp_path / "report" / "associations" / "jcmc11010.html").read_text(encoding="utf-8")
    assert "sbcdark run jcmc11010 -o products" in association


def test_text_of_headers_stays_text(sqlite_catalog: sa.Engine, tmp_path: Path) -> None:
    with writing(sqlite_catalog) as session:
        session.execute(sa.update(models.Exposure).values(target=_EVIL, filter=_EVIL, quality_reason=_EVIL))
        session.execute(sa.update(models.Exposure).where(models.Exposure.kind == "dark").values(quality="suspect"))
        session.execute(sa.update(models.Association).values(target=f'"><img src=x onerror={_EVIL}>'))
        session.execute(sa.update(models.File).values(calibration_version=_EVIL))
        session.execute(
            sa.update(models.Exposure)
            .where(models.Exposure.rootname.in_(["jcrx01iiq", "jcmc11e6q"]))
            .values(association="../../etc/passwd")
        )
    Catalog(sqlite_catalog).report(tmp_path / "report")
    pages = [path for path in (tmp_path / "report").rglob("*.html") if path.stem not in {"coverage", "history"}]
    texts = [path.read_text(encoding="utf-8") for path in pages]
    assert not any(_EVIL in text or "<img src=x" in text for text in texts)
    assert sum("&lt;script&gt;alert(1)&lt;/script&gt;" in text for text in texts) > 28
    assert not any('passwd.html"' in text for text in texts)
    drawn = [(tmp_path / "report" / name).read_text(encoding="utf-8") for name in ("coverage.html", "history.html")]
    assert not any(_EVIL in text for text in drawn)


@pytest.mark.slow
def test_a_report_replaces_only_a_report(sqlite_catalog: sa.Engine, tmp_path: Path) -> None:
    catalog, folder = Catalog(sqlite_catalog), tmp_path / "report"
    folder.mkdir()
    (folder / "index.html").write_text("mine")
    with pytest.raises(UsageError, match=r"index\.html exists and is not of a report"):
        catalog.report(folder)
    with pytest.raises(UsageError, match="not of a report"):
        catalog.report(folder, overwrite=True)
    assert [path.name for path in folder.iterdir()] == ["index.html"]
    assert (folder / "index.html").read_text() == "mine"
    (folder / "index.html").rename(folder / "mine.html")
    catalog.report(folder)
    with pytest.raises(UsageError, match="already holds a report"):
        catalog.report(folder)
    outside = tmp_path / "outside.html"
    outside.write_text("mine")
    manifest = folder / "sbcdark-report.json"
    listed = json.loads(manifest.read_text())
    listed["files"] += ["exposures/gone.html", "../outside.html", str(outside)]
    manifest.write_text(json.dumps(listed))
    (folder / "exposures" / "gone.html").write_text("of an older report")
    catalog.report(folder, overwrite=True)
    assert outside.read_text() == "mine"
    assert (folder / "mine.html").read_text() == "mine"
    assert not (folder / "exposures" / "gone.html").exists()
    manifest.write_text("[]")
    with pytest.raises(UsageError, match="is not the list of a report"):
        catalog.report(folder, overwrite=True)


def test_an_empty_catalog_has_a_report(empty_catalog: sa.Engine, tmp_path: Path) -> None:
    made = Catalog(empty_catalog).report(tmp_path / "report")
    assert made.files == 4
    assert "<dt>darks</dt><dd>0</dd>" in made.index.read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_page_of_a_product_shows_what_its_run_said(sqlite_catalog: sa.Engine, tmp_path: Path) -> None:
    catalog = Catalog(sqlite_catalog)
    made = catalog.run(
        "jcmc11010",
        tmp_path / "products",
        apertures="circle:735,710,40",
        sky="annulus:60,90",
        final_scale=0.03,
        workers=1,
    )
    # In the words of the command line, as the pages have them.
    warnings = QTable.read(tmp_path / "products" / "jcmc11010_sbcdark_phot.ecsv").meta["warnings"]
    assert len(warnings) > 1  # no flat, no PHOTFLAM
    catalog.report(tmp_path / "report")
    page = (tmp_path / "report" / "associations" / "jcmc11010.html").read_text(encoding="utf-8")
    text = unescape(page)
    for warning in warnings:
        assert warning in text
    (record,) = made.outcome.photometry
    assert f">{record.source_count_s:.4f}<" in page
    assert f">{record.dark_count_s:.4f}<" in page
    assert "sbcdark replay 1 -o again" in text
    assert "--aperture circle:735,710,40 --sky annulus:60,90 --final-scale 0.03" in text
    drawn = {path.name for path in (tmp_path / "report" / "pictures").iterdir()}
    assert drawn == {path.name for path in made.pictures}
    table = (tmp_path / "report" / "tables" / "jcmc11010.ecsv").read_text(encoding="utf-8")
    assert "source_count_s" in table


@pytest.mark.slow
def test_a_large_catalog_takes_less_than_a_minute(sqlite_catalog: sa.Engine, tmp_path: Path) -> None:
    copies = 70  # of 20 darks and 8 science exposures, each with its file
    with writing(sqlite_catalog) as session:
        exposures = session.scalars(sa.select(models.Exposure)).all()
        files = {one.exposure_id: one for one in session.scalars(sa.select(models.File))}
        for copy in range(1, copies + 1):
            for one in exposures:
                values = _values(one) | {"rootname": f"j{one.id:03d}{copy:04d}q"}
                row = models.Exposure(**values | {"start_mjd": one.start_mjd + copy / 7})
                session.add(row)
                session.flush()
                link = tmp_path / f"{one.rootname}_{copy}"
                link.symlink_to(unquote(urlsplit(files[one.id].uri).path))
                session.add(models.File(**_values(files[one.id]) | {"exposure_id": row.id, "uri": link.as_uri()}))
    start = os.times()
    made = Catalog(sqlite_catalog).report(tmp_path / "report")
    spent = [after - before for before, after in zip(start[:4], os.times()[:4], strict=True)]
    assert made.files > 28 * copies
    assert max(path.stat().st_size for path in (tmp_path / "report").rglob("*.html")) < 3e6
    # The time of all processes on two cores, whatever else the machine is doing.
    assert sum(spent) / 2 < 60


def _values(row: models.Base) -> dict[str, object]:
    return {column.key: getattr(row, column.key) for column in sa.inspect(type(row)).columns if column.key != "id"}

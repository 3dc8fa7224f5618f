"""Ingest of files that stay on a server: the numbers of a local ingest from a third of the bytes."""

from __future__ import annotations

import gzip
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from helpers import (
    SCI_HEADER,
    counts,
    dump,
    exposures_dump,
    files_told,
    refused,
    taken,
    unpacked_raw,
    with_card,
)

from sbcdark.catalog import models, queries
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import UnreachableError, UsageError
from sbcdark.catalog.opening import open_catalog
from sbcdark.catalog.records import Refusal
from sbcdark.pipeline.archive import http
from sbcdark.pipeline.frames.exposure_files import read_file
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.ingest.remote_ingestion import read_remote
from sbcdark.pipeline.ingest.verification import verify

if TYPE_CHECKING:
    from range_server import RangeServer


MOST_OF_A_RAW = 0.40
MOST_OF_AN_FLT = 0.22


def serve(web: RangeServer, folder: Path, **behaviour: Any) -> list[str]:
    """Serve the files of a folder of real data, unpacked, and return their URLs."""
    return [
        web.put(f"/data/{path.name.removesuffix('.gz')}", gzip.decompress(path.read_bytes()), **behaviour)
        for path in sorted(folder.glob("*_???.fits.gz"))
        if not path.name.startswith("sbc")
    ]


def measured(engine: sa.Engine, regions: tuple[str, ...] = ("box", "quiet")) -> dict[tuple[str, str], tuple[Any, ...]]:
    """Return counts, good pixels, rate and error by root name and region."""
    query = (
        sa.select(models.Exposure.rootname, models.Region.name, models.Measurement)
        .join(models.File, models.File.exposure_id == models.Exposure.id)
        .join(models.Measurement, models.Measurement.file_id == models.File.id)
        .join(models.Region, models.Region.id == models.Measurement.region_id)
        .where(models.Region.name.in_(regions))
    )
    with reading(engine) as session:
        return {
            (rootname, region): (row.counts, row.good_pixels, row.rate_count_s_pix, row.rate_err_count_s_pix)
            for rootname, region, row in session.execute(query)
        }


def assert_as_from_disk(engine: sa.Engine, shared_data: Path, folder: Path) -> None:
    """Hold that a catalog of the 20 remote darks has what an ingest from disk gives."""
    local = open_catalog(folder / "local.db", create=True)
    ingest(local, [shared_data / "darks_13961"], workers=1)
    assert measured(engine) == measured(local)
    assert len(measured(local)) == 40
    assert not measured(engine, ("lodark", "frame"))
    # Hot pixels lie anywhere on the frame, of which two regions are drawn.
    drawn, whole = exposures_dump(engine), exposures_dump(local)
    assert {row.pop("hot_pixels") for row in drawn} == {None}
    assert None not in {row.pop("hot_pixels") for row in whole}
    assert drawn == whole
    local.dispose()


def test_twenty_real_darks_come_out_as_from_disk_for_a_third_of_their_bytes(
    web: RangeServer, empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path
) -> None:
    urls = serve(web, shared_data / "darks_13961")
    told: list[tuple[int, int]] = []
    report = ingest(empty_catalog, urls, progress=lambda done, total: told.append((done, total)))
    assert counts(report) == (20, 0, 0, 0)
    assert (told[0], told[-1]) == ((0, 20), (20, 20))
    for url in urls:
        path = url.removeprefix(web.url)
        assert 0.3 < web.body_bytes(path) / len(web.files[path].content) <= MOST_OF_A_RAW
    assert_as_from_disk(empty_catalog, shared_data, tmp_path)
    with reading(empty_catalog) as session:
        (file,) = queries.files_of(session, "jcrx01iiq")
    assert (file.uri, file.sha256, file.etag) == (f"{web.url}/data/jcrx01iiq_raw.fits", None, '"1"')
    assert (file.size_byte, file.mtime_ns) == (2_134_080, 1_700_000_000 * 10**9)
    # Again: each is asked after once, and nothing is drawn or written.
    before = dump(empty_catalog)
    web.asked.clear()
    assert counts(ingest(empty_catalog, urls)) == (0, 0, 20, 0)
    assert [(one.method, one.status, one.body) for one in web.asked] == [("HEAD", 200, 0)] * 20
    assert dump(empty_catalog) == before


def test_science_frames_come_out_as_from_disk(web: RangeServer, shared_data: Path) -> None:
    folder = shared_data / "science_13655_standin"
    for url in serve(web, folder):
        path = url.removeprefix(web.url)
        found = taken(read_remote(url))
        local = taken(read_file(folder / f"{Path(path).name}.gz"))
        assert found.exposure is not None
        assert local.exposure is not None
        assert found.exposure.measurements == local.exposure.measurements[:2]
        assert web.body_bytes(path) < MOST_OF_AN_FLT * len(web.files[path].content)


def test_packed_files_and_associations_are_read_whole_and_have_a_checksum(web: RangeServer, shared_data: Path) -> None:
    packed = shared_data / "darks_13961" / "jcrx01iiq_raw.fits.gz"
    found = taken(read_remote(web.put(f"/{packed.name}", packed.read_bytes())))
    local = taken(read_file(packed))
    assert (found.exposure, found.sha256) == (local.exposure, local.sha256)
    # Some servers call what is packed an encoding of it: the bytes are taken as they lie there all the same.
    encoded = taken(read_remote(web.put(f"/e/{packed.name}", packed.read_bytes(), encoding="x-gzip")))
    assert (encoded.exposure, encoded.sha256) == (local.exposure, local.sha256)
    asn = shared_data / "associations_13655" / "jcmc11010_asn.fits"
    found = taken(read_remote(web.put("/jcmc11010_asn.fits", asn.read_bytes())))
    local = taken(read_file(asn))
    assert (found.association, found.sha256) == (local.association, local.sha256)
    assert taken(read_remote(f"{web.url}/jcmc11010_asn.fits", checksum=False)).sha256 is None


@pytest.mark.parametrize(
    "behaviour",
    [{"ranges": False}, {"tells_size": False}, {"etag": None, "modified": None}],
    ids=["ignores ranges", "no length", "no mark"],
)
def test_where_parts_are_not_to_be_had_the_whole_is_taken_with_its_checksum(
    web: RangeServer, empty_catalog: sa.Engine, shared_data: Path, behaviour: dict[str, Any]
) -> None:
    content = unpacked_raw(shared_data)
    url = web.put("/jcrx01iiq_raw.fits", content, **behaviour)
    assert counts(ingest(empty_catalog, [url])) == (1, 0, 0, 0)
    with reading(empty_catalog) as session:
        (file,) = queries.files_of(session, "jcrx01iiq")
        assert len(queries.measurements_of(session, file.id)) == 4
    assert file.sha256 is not None
    assert file.size_byte == len(content)
    # What is sent unasked is not drawn in: the connection is closed.
    assert sum(one.status == 200 and one.body == len(content) for one in web.asked) == 1
    assert counts(ingest(empty_catalog, [url])) == (0, 0, 1, 0)


@pytest.mark.parametrize(
    ("cut", "reason"),
    [
        (0, "not a FITS file"),
        (4000, "truncated|broken"),
        (SCI_HEADER + 3000, "truncated|broken"),
        (100_000, "truncated"),
        (1_700_000, "truncated"),
        (2_122_560, "truncated: has 1 of 3"),
        (2_130_000, "truncated|broken"),
    ],
)
def test_truncated_files_are_rejected(web: RangeServer, shared_data: Path, cut: int, reason: str) -> None:
    url = web.put("/jcrx01iiq_raw.fits", unpacked_raw(shared_data)[:cut])
    found = read_remote(url)
    assert isinstance(found, Refusal)
    assert re.search(reason, refused(found))
    assert found.size_byte == cut


def test_file_that_is_not_of_the_sbc_costs_its_headers_only(web: RangeServer, shared_data: Path) -> None:
    content = with_card(unpacked_raw(shared_data), "DETECTOR", "'WFC     '")
    found = read_remote(web.put("/jcrx01iiq_raw.fits", content))
    assert isinstance(found, Refusal)
    assert found.ignored
    assert "WFC" in found.reason
    assert web.body_bytes() < 80_000


def test_changed_content_is_read_again_and_supersedes(
    web: RangeServer, empty_catalog: sa.Engine, shared_data: Path
) -> None:
    content = unpacked_raw(shared_data)
    url = web.put("/jcrx01iiq_raw.fits", content)
    ingest(empty_catalog, [url])
    changed = with_card(content, "EXPTIME", "500.0")
    web.put("/jcrx01iiq_raw.fits", changed, etag='"2"')
    assert counts(ingest(empty_catalog, [url])) == (0, 1, 0, 0)
    # The same mark at another time is the same content, which is known by that time from then on.
    web.put("/jcrx01iiq_raw.fits", changed, etag='"2"', modified=1_700_000_001.0)
    assert counts(ingest(empty_catalog, [url])) == (0, 0, 1, 0)
    web.asked.clear()
    assert counts(ingest(empty_catalog, [url])) == (0, 0, 1, 0)
    assert web.body_bytes() == 0
    # Without a mark the time tells.
    web.put("/jcrx01iiq_raw.fits", content, etag=None, modified=1_700_000_002.0)
    assert counts(ingest(empty_catalog, [url])) == (0, 1, 0, 0)
    with reading(empty_catalog) as session:
        assert [file.state for file in queries.files_of(session, "jcrx01iiq")] == ["present", "changed", "changed"]
        (dark,) = queries.list_exposures(session, queries.ExposureFilter())
    assert dark.exptime_s == 1000.0


def test_verify_asks_and_draws_nothing(web: RangeServer, empty_catalog: sa.Engine, shared_data: Path) -> None:
    urls = serve(web, shared_data / "darks_13961")[:5]
    ingest(empty_catalog, urls)
    web.asked.clear()
    assert (verify(empty_catalog).present, web.body_bytes(), len(web.asked)) == (5, 0, 5)
    paths = [url.removeprefix(web.url) for url in urls]
    del web.files[paths[0]]
    web.files[paths[1]].etag = '"2"'
    web.files[paths[2]].statuses, web.files[paths[2]].always = [403], True
    found = verify(empty_catalog)
    assert (found.present, found.missing, found.changed, found.unchecked) == (2, 1, 1, 1)
    assert [one.reason for one in found.findings] == [
        "does not exist on the server",
        "size, time or ETag differs",
        "the server answers 403 (Forbidden)",
    ]
    with reading(empty_catalog) as session:
        assert [queries.files_of(session, Path(path).name[:9])[0].state for path in paths] == [
            "missing",
            "changed",
            "present",
            "present",
            "present",
        ]
    # What is there again is measured again, whatever the catalog thought of it.
    web.put(paths[0], unpacked_raw(shared_data, Path(paths[0]).name[:9]))
    assert counts(ingest(empty_catalog, urls)) == (1, 1, 2, 1)
    assert verify(empty_catalog).present == 4


def test_verify_asks_a_silent_host_once(web: RangeServer, empty_catalog: sa.Engine, shared_data: Path) -> None:
    ingest(empty_catalog, serve(web, shared_data / "darks_13961")[:3])
    web.stop()
    http.session.cache_clear()
    assert verify(empty_catalog).unchecked == 3
    assert [one.state for one in verify(empty_catalog).findings] == ["present"] * 3


def test_local_and_remote_files_are_mixed_and_a_dry_run_tells_the_same(
    web: RangeServer, empty_catalog: sa.Engine, shared_data: Path
) -> None:
    urls = serve(web, shared_data / "darks_13961")[:3]
    given = [urls[0], str(shared_data / "associations_13655"), urls[1], f"{web.url}/gone_raw.fits", urls[2].upper()]
    given += [f"{web.url}/jcrx01iiq_spt.fits", urls[0] + "#again"]
    before = dump(empty_catalog)
    dry = ingest(empty_catalog, given, dry_run=True)
    assert dump(empty_catalog) == before
    assert dry == ingest(None, given, dry_run=True)
    wet = ingest(empty_catalog, given)
    assert files_told(dry) == files_told(wet)
    assert counts(wet) == (6, 0, 0, 2)
    assert wet.ignored_files == [{"path": f"{web.url}/jcrx01iiq_spt.fits", "reason": "not a RAW, FLT or ASN file name"}]
    assert {Path(one["path"]).name for one in wet.rejections} == {"gone_raw.fits", "JCRX01IKQ_RAW.FITS"}


def test_host_that_is_not_there_stops_the_ingest_and_keeps_what_was_read(
    web: RangeServer, empty_catalog: sa.Engine, shared_data: Path
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}/jcrx01ijq_raw.fits"
        url = web.put("/jcrx01iiq_raw.fits", unpacked_raw(shared_data))
        with pytest.raises(UnreachableError, match="cannot be reached"):
            ingest(empty_catalog, [url, nobody])
    assert [row["rootname"] for row in exposures_dump(empty_catalog)] == ["jcrx01iiq"]


def test_address_that_names_no_file_is_told(web: RangeServer, empty_catalog: sa.Engine) -> None:
    with pytest.raises(UsageError, match="names no file"):
        ingest(empty_catalog, [f"{web.url}/folder/"])
    assert web.asked == []


def test_remote_file_that_contradicts_another_is_rejected(
    web: RangeServer, empty_catalog: sa.Engine, shared_data: Path
) -> None:
    raw = unpacked_raw(shared_data)
    url = web.put("/jcrx01iiq_raw.fits", raw)
    science = with_card(with_card(raw, "IMAGETYP", "'EXT'"), "OBSTYPE", "'IMAGING'")
    other = web.put("/other/jcrx01iiq_raw.fits", science)
    dry = ingest(empty_catalog, [url, other], dry_run=True)
    wet = ingest(empty_catalog, [url, other])
    assert files_told(dry) == files_told(wet)
    assert counts(wet) == (1, 0, 0, 1)
    assert wet.rejections[0]["path"] == other

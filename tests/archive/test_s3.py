"""Ingest from S3, anonymously, against a real S3 server on loopback: single files and all below a prefix."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import pytest
from helpers import counts, dump, unpacked_raw
from s3_server import s3_server
from test_remote_files import assert_as_from_disk

from sbcdark.catalog import queries
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import UnreachableError, UsageError
from sbcdark.catalog.records import FileReading, Refusal
from sbcdark.pipeline.archive import http, remote_files
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.ingest.remote_ingestion import read_remote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import sqlalchemy as sa
    from range_server import RangeServer
    from s3_server import S3Server

PREFIX = "/stpubdata/hst/public"


@pytest.fixture(scope="module")
def bucket(shared_data: Path) -> Iterator[S3Server]:
    """Return a server with a bucket as the archive's: the 20 darks, an association, and other products among them."""
    with s3_server() as server:
        server.put("/stpubdata")
        for path in sorted((shared_data / "darks_13961").glob("*_raw.fits.gz")):
            rootname = path.name[:9]
            content = gzip.decompress(path.read_bytes())
            server.put(f"{PREFIX}/{rootname[:4]}/{rootname}/{rootname}_raw.fits", content)
        server.put(f"{PREFIX}/jcrx/jcrx01iiq/jcrx01iiq_spt.fits", b"none of ours")
        server.put(f"{PREFIX}/jcrx/jcrx01iiq/", b"")
        server.put(f"{PREFIX}/jcrx/jcrx01iiq/strange%20%1B[31mname_raw.fits", b"none of ours")
        asn = shared_data / "associations_13655" / "jcmc11010_asn.fits"
        server.put(f"{PREFIX}/jcmc/jcmc11010/{asn.name}", asn.read_bytes())
        server.put(f"{PREFIX}/jcry/x_raw.fits", b"somebody else's", public=False)
        yield server


@pytest.fixture
def s3(bucket: S3Server, short_waits: pytest.MonkeyPatch) -> S3Server:
    """Return the server, with the program asking it."""
    short_waits.setenv("AWS_ENDPOINT_URL", bucket.url)
    # Credentials of the user's own are not sent to a public bucket.
    short_waits.setenv("AWS_ACCESS_KEY_ID", "hush")
    short_waits.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    bucket.asked()
    return bucket


def test_all_below_a_prefix_is_ingested_as_from_disk_for_a_third_of_the_bytes(
    s3: S3Server, empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path
) -> None:
    report = ingest(empty_catalog, ["s3://stpubdata/hst/public/jcrx", "s3://stpubdata/hst/public/jcmc/"])
    assert counts(report) == (21, 0, 0, 1)
    assert [one["path"] for one in report.ignored_files] == [
        "s3://stpubdata/hst/public/jcrx/jcrx01iiq/jcrx01iiq_spt.fits"
    ]
    assert "characters" in report.rejections[0]["reason"]
    assert report.rejections[0]["path"].isprintable()
    asked = s3.asked()
    assert not any(one["signed"] for one in asked)
    drawn = sum(one["body"] for one in asked if one["path"].endswith("_raw.fits"))
    assert 0.3 < drawn / (20 * 2_134_080) <= 0.4
    assert_as_from_disk(empty_catalog, shared_data, tmp_path)
    with reading(empty_catalog) as session:
        (file,) = queries.files_of(session, "jcrx01iiq")
    assert (file.uri, file.sha256) == ("s3://stpubdata/hst/public/jcrx/jcrx01iiq/jcrx01iiq_raw.fits", None)
    assert file.etag is not None
    # Again, by the prefix: the listing says that nothing changed. One by one: each is asked after.
    before = dump(empty_catalog)
    assert counts(ingest(empty_catalog, ["s3://stpubdata/hst/public/jcrx/"])) == (0, 0, 20, 1)
    assert not any(one["path"].endswith("_raw.fits") for one in s3.asked())
    assert counts(ingest(empty_catalog, [file.uri])) == (0, 0, 1, 0)
    assert [(one["method"], one["body"]) for one in s3.asked()] == [("HEAD", 0)]
    assert dump(empty_catalog) == before


def test_whole_objects_come_whole(s3: S3Server, shared_data: Path) -> None:
    uri = "s3://stpubdata/hst/public/jcrx/jcrx01iiq/jcrx01iiq_raw.fits"
    found = remote_files.stat(uri)
    assert found is not None
    whole = gzip.decompress((shared_data / "darks_13961" / "jcrx01iiq_raw.fits.gz").read_bytes())
    assert remote_files.read(uri, found) == whole
    assert s3.asked()


def test_object_that_changes_is_noticed(s3: S3Server, shared_data: Path) -> None:
    contents = [
        gzip.decompress((shared_data / "darks_13961" / f"{name}_raw.fits.gz").read_bytes())
        for name in ("jcrx01iiq", "jcrx01iyq")
    ]
    uri = "s3://stpubdata/hst/public/jchg/x_raw.fits"
    s3.put(f"{PREFIX}/jchg/x_raw.fits", contents[0])
    found = remote_files.stat(uri)
    assert found is not None
    s3.put(f"{PREFIX}/jchg/x_raw.fits", contents[1])
    with pytest.raises(http.ChangedError):
        remote_files.read(uri, found, 0, 100)
    # What a listing said before is looked up again.
    reading = read_remote(uri, None, found)
    assert isinstance(reading, FileReading)
    assert reading.exposure is not None
    assert reading.exposure.rootname == "jcrx01iyq"


def test_what_is_not_there_or_not_public_is_told(s3: S3Server) -> None:
    gone = read_remote("s3://stpubdata/hst/public/jcrx/gone_raw.fits")
    closed = read_remote("s3://stpubdata/hst/public/jcry/x_raw.fits")
    assert isinstance(gone, Refusal)
    assert isinstance(closed, Refusal)
    assert "does not exist" in gone.reason
    assert "403" in closed.reason
    for address in ("s3://stpubdata/hst/none/", "s3://no-such-bucket/hst/"):
        with pytest.raises(UsageError):
            ingest(None, [address], dry_run=True)
    assert s3.asked()


def test_too_wide_a_prefix_is_not_read_to_its_end(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_files, "LARGEST_LISTING", 10)
    with pytest.raises(UsageError, match="narrower"):
        ingest(None, ["s3://stpubdata/hst/"], dry_run=True)
    assert s3.asked()


def test_service_that_is_not_there_is_told(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(UnreachableError, match="s3://stpubdata cannot be reached"):
        ingest(None, ["s3://stpubdata/hst/"], dry_run=True)
    with pytest.raises(UnreachableError):
        read_remote("s3://stpubdata/hst/x_raw.fits")
    assert s3.asked() == []


@pytest.fixture
def bad_s3(web: RangeServer, monkeypatch: pytest.MonkeyPatch) -> RangeServer:
    """Return a server that answers as S3 does where all goes well, and can be told to misbehave."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", web.url)
    return web


URI = "s3://stpubdata/jcrx01iiq_raw.fits"
PATH = "/stpubdata/jcrx01iiq_raw.fits"


def test_what_passes_is_tried_again_in_s3_too(bad_s3: RangeServer, shared_data: Path) -> None:
    bad_s3.put(PATH, unpacked_raw(shared_data), statuses=[503, 0, 500, 0, 429])
    found = read_remote(URI)
    assert isinstance(found, FileReading)
    assert found.sha256 is None
    bad_s3.put(PATH, b"", statuses=[503], always=True)
    bad_s3.asked.clear()
    found = read_remote(URI)
    assert isinstance(found, Refusal)
    assert "503" in found.reason
    assert len(bad_s3.asked) == 3


def test_service_that_gives_no_parts_is_read_whole(bad_s3: RangeServer, shared_data: Path) -> None:
    bad_s3.put(PATH, unpacked_raw(shared_data), ranges=False)
    found = read_remote(URI)
    assert isinstance(found, FileReading)
    assert found.sha256 is not None
    assert found.exposure is not None
    assert len(found.exposure.measurements) == 4


def test_silence_and_short_answers_of_s3_end(bad_s3: RangeServer, shared_data: Path) -> None:
    bad_s3.put(PATH, unpacked_raw(shared_data), cut=1000)
    found = read_remote(URI)
    assert isinstance(found, Refusal)
    assert "connection dropped" in found.reason
    bad_s3.put(PATH, unpacked_raw(shared_data), stalls=3.0)
    with pytest.raises(UnreachableError, match="s3://stpubdata does not answer"):
        read_remote(URI)

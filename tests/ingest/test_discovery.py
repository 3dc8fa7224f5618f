"""Finding files: what is ours by its name, links, FIFOs, names of every kind, paths that are not there."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from helpers import copied, counts, renamed, unpacked_raw

from sbcdark.catalog import models
from sbcdark.catalog.engine import reading
from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.frames.exposure_files import product_kind
from sbcdark.pipeline.frames.untrusted_fits import local_path
from sbcdark.pipeline.ingest.discovery import discover
from sbcdark.pipeline.ingest.ingestion import ingest
from sbcdark.pipeline.ingest.report import IngestReport


def test_what_is_none_of_ours_is_ignored_by_name(shared_data: Path, empty_catalog: sa.Engine, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    copied(shared_data, folder, "jcrx01iiq_raw", "jcmc11ctq_flt")
    for name in (
        "hst_13655_11_acs_sbc_f165lp_jcmc11ct_flt.fits",
        "HST_13655_11_ACS_raw.FITS",
        "jcmc11ctq_spt.fits",
        "jcmc11ctj_jif.fits",
        "jcmc11ctj_jit.fits",
        "jcmc11ctq_drz.fits",
        "jcmc11ctq_flt.jpg",
        "jcmc11ctq_flt_hdr.txt",
        "notes.txt",
        "raw.fits",
    ):
        (folder / name).write_bytes(b"anything")
    report = ingest(empty_catalog, [folder])
    assert counts(report) == (2, 0, 0, 0)
    assert report.ignored == len(report.ignored_files) == 10
    reasons = {Path(file["path"]).name: file["reason"] for file in report.ignored_files}
    assert sum("HAP" in reason for reason in reasons.values()) == 2


def test_upper_case_and_strange_names_are_read(empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path) -> None:
    content = unpacked_raw(shared_data)
    names = [
        b"JCRX01IIQ_RAW.FITS",
        b"50% of #1?_raw.fits",
        b"line\nfeed_raw.fits",
        "ünïcode_raw.fits".encode(),
        b"\xff\xfe not utf-8_raw.fits",
        b"[x]; DROP TABLE files_raw.fits",
    ]
    for number, name in enumerate(names):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(renamed(content, f"jcrx01i{number}q"))
    assert counts(ingest(empty_catalog, [tmp_path])) == (len(names), 0, 0, 0)
    with reading(empty_catalog) as session:
        uris = session.scalars(sa.select(models.File.uri)).all()
    assert {os.fsencode(local_path(uri).name) for uri in uris} == set(names)
    assert all(uri.isascii() and uri.isprintable() for uri in uris)
    assert counts(ingest(empty_catalog, [tmp_path])) == (0, 0, len(names), 0)


def test_links_that_loop_fifos_and_dead_links_do_not_hang(
    empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "files"
    (raw,) = copied(shared_data, folder, "jcrx01iiq_raw")
    (folder / "deep").mkdir()
    (folder / "deep" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "again").symlink_to(folder / "deep", target_is_directory=True)
    (folder / "self_raw.fits").symlink_to(folder / "self_raw.fits")
    (folder / "dead_raw.fits").symlink_to(folder / "nothing")
    (folder / "link_raw.fits.gz").symlink_to(raw)
    os.mkfifo(folder / "x_raw.fits")
    (folder / "folder_raw.fits").mkdir()
    report = ingest(empty_catalog, [folder, raw, folder / "deep" / "up", folder / "again"])
    assert counts(report)[:3] == (1, 0, 0)
    assert {Path(one["path"]).name for one in report.rejections} == {"self_raw.fits", "dead_raw.fits", "x_raw.fits"}
    assert {one["reason"] for one in report.rejections} == {"not a regular file"}


def test_link_into_a_content_store_is_read(empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path) -> None:
    # git-annex and the like keep the bytes under a checksum and a link under the name.
    store = tmp_path / "store"
    (raw,) = copied(shared_data, store, "jcrx01iiq_raw")
    blob = raw.rename(store / "5d41402abc4b2a76")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "jcrx01iiq_raw.fits.gz").symlink_to(blob)
    assert counts(ingest(empty_catalog, [tmp_path / "files"])) == (1, 0, 0, 0)
    assert counts(ingest(empty_catalog, [tmp_path / "files"])) == (0, 0, 1, 0)


def test_folders_may_lie_deeper_in_each_other_than_a_function_may_call_itself(tmp_path: Path) -> None:
    depth = sys.getrecursionlimit() + 10
    place = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=place)
        inner = os.open("d", os.O_RDONLY, dir_fd=place)
        os.close(place)
        place = inner
    os.close(os.open("x_raw.fits", os.O_WRONLY | os.O_CREAT, dir_fd=place))
    os.close(place)
    try:
        report = IngestReport()
        # It is found, though its path is longer than a database can keep in an index.
        assert discover([tmp_path], report) == []
        (rejected,) = report.rejections
        assert len(Path(rejected["path"]).parts) == len(tmp_path.parts) + depth + 1
        assert rejected["reason"] == "path is too long"
    finally:
        # `shutil.rmtree` calls itself too.
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)


def test_path_too_long_for_an_index_costs_nothing_else(
    empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path
) -> None:
    (raw,) = copied(shared_data, tmp_path, "jcrx01iiq_raw")
    # Each byte takes three characters of a URI, and none can be packed; PostgreSQL keeps 2704 bytes.
    random = np.random.default_rng(2704)
    deep = tmp_path
    for _ in range(5):
        deep /= os.fsdecode(bytes(random.integers(129, 256, 240).tolist()))
        deep.mkdir()
    (deep / "jcrx01ijq_raw.fits").write_bytes(unpacked_raw(shared_data, "jcrx01ijq"))
    report = ingest(empty_catalog, [tmp_path])
    assert counts(report) == (1, 0, 0, 1)
    assert report.rejections[0]["reason"] == "path is too long"
    assert raw.exists()


def test_times_beyond_64_bits_are_stored(empty_catalog: sa.Engine, shared_data: Path, tmp_path: Path) -> None:
    (raw,) = copied(shared_data, tmp_path / "files", "jcrx01iiq_raw")
    (tmp_path / "files" / "bad_raw.fits").write_bytes(b"")
    for path in (raw, tmp_path / "files" / "bad_raw.fits"):
        os.utime(path, ns=(0, 2**63))  # in the year 2262
    assert counts(ingest(empty_catalog, [tmp_path / "files"])) == (1, 0, 0, 1)
    assert counts(ingest(empty_catalog, [tmp_path / "files"])) == (0, 0, 1, 1)


def test_sockets_and_devices_are_no_files(empty_catalog: sa.Engine, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as open_socket:
        here = Path.cwd()
        os.chdir(tmp_path)  # the name of a socket has 107 bytes at most
        try:
            open_socket.bind("socket_raw.fits")
        finally:
            os.chdir(here)
    (tmp_path / "zero_raw.fits").symlink_to("/dev/zero")
    report = ingest(empty_catalog, [tmp_path])
    assert counts(report) == (0, 0, 0, 2)
    assert {one["reason"] for one in report.rejections} == {"not a regular file"}


@pytest.mark.parametrize("path", ["", "no/such/folder", "x" * 5000, "nul\0byte", "~nobody-has-this-name/x"])
def test_paths_that_are_not_there_are_told(path: str) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        discover([path], IngestReport())


def test_unreadable_folder_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir()
    scan = os.scandir

    def refuse(path: str) -> object:
        # As root, who may run the tests, no folder can be closed.
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    report = IngestReport()
    assert discover([tmp_path], report) == []
    assert report.rejections == [{"path": str(tmp_path / "closed"), "reason": "cannot be read: Permission denied"}]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("jcrx01iiq_raw.fits", "RAW"),
        ("JCRX01IIQ_FLT.FITS.GZ", "FLT"),
        ("jcmc11010_asn.fits", "ASN"),
        ("hst_13655_11_flt.fits", None),
        ("jcrx01iiq_raw.fits.part", None),
        ("jcrx01iiq_raw.fits\n", None),
        ("jcrx01iiq_spt.fits", None),
        ("raw.fits", None),
        ("jcrx01iiq_flc.fits", None),
    ],
)
def test_product_kind_by_name(name: str, kind: str | None) -> None:
    assert product_kind(name) == kind

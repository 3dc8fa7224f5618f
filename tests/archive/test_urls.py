"""Addresses: which are taken, in what form they are kept, and that secrets in them are told to nobody."""

from __future__ import annotations

import pytest

from sbcdark.catalog.errors import UsageError
from sbcdark.pipeline.archive.urls import file_name, is_remote, names_folder, remote_uri

MAST = "https://mast.stsci.edu/api/v0.1/Download/file?uri=mast:HST/product/jcrx01iiq_raw.fits"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://Example.ORG:443/a/jcrx01iiq_raw.fits#part", "https://example.org/a/jcrx01iiq_raw.fits"),
        ("HTTPS://example.org/a b/x_raw.fits", "https://example.org/a%20b/x_raw.fits"),
        ("https://example.org/a%20b/x_raw.fits", "https://example.org/a%20b/x_raw.fits"),
        ("https://example.org:8443/x_raw.fits", "https://example.org:8443/x_raw.fits"),
        ("https://[2001:DB8::1]/x_raw.fits", "https://[2001:db8::1]/x_raw.fits"),
        ("http://127.0.0.1:8000/x_raw.fits", "http://127.0.0.1:8000/x_raw.fits"),
        ("http://localhost/x_raw.fits", "http://localhost/x_raw.fits"),
        (MAST, MAST),
        (MAST.replace("mast:HST/product", "mast%3AHST%2Fproduct"), MAST),
        ("s3://stpubdata/hst/public/jcrx/", "s3://stpubdata/hst/public/jcrx/"),
        ("S3://stpubdata/hst/public/jcrx/x_raw.fits", "s3://stpubdata/hst/public/jcrx/x_raw.fits"),
        ("s3://stpubdata", "s3://stpubdata/"),
    ],
)
def test_one_file_has_one_address(given: str, kept: str) -> None:
    assert remote_uri(given) == kept
    assert remote_uri(kept) == kept
    assert is_remote(kept)


@pytest.mark.parametrize("path", ["darks/x_raw.fits", "/darks/x_raw.fits", "-", "C:x", "a:b", "https:/one/slash", ""])
def test_paths_stay_paths(path: str) -> None:
    assert remote_uri(path) is None
    assert not is_remote(path)


@pytest.mark.parametrize(
    "address",
    [
        "https://user:hush@example.org/x_raw.fits",
        "https://hush@example.org/x_raw.fits",
        "s3://key:hush@stpubdata/x_raw.fits",
        "http://user:hush@127.0.0.1/x_raw.fits",
        "ftp://user:hush@example.org/x_raw.fits",
        "https://example.org/x_raw.fits?token=hush",
        "https://example.org/x_raw.fits?uri=hush",
        "https://example.org/x_raw.fits?uri=mast:HST/product/x_raw.fits&token=hush",
        "https://example.org/x_raw.fits?uri=mast:HST/product/../hush",
        "https://example.org:hush/x_raw.fits",
        "https://[hush/x_raw.fits",
        "http://example.org/hush_raw.fits",
        "http://127.0.0.1.example.org/hush_raw.fits",
        "https:///hush_raw.fits",
        "https://exa\x1b[31mmple.org/hush_raw.fits",
        "s3://stpubdata/hush_raw.fits?versionId=1",
        "s3://stpubdata/hush_raw.fits#1",
        "s3://Not_A_Bucket/hush_raw.fits",
        "s3://stpubdata/hush \x1b[31m_raw.fits",
        "file:///tmp/hush_raw.fits",
        "https://example.org/" + "hush" * 200 + "_raw.fits",
    ],
)
def test_what_is_not_taken_is_told_without_what_it_holds(address: str) -> None:
    with pytest.raises(UsageError) as refused:
        remote_uri(address)
    assert "hush" not in str(refused.value)
    assert str(refused.value).isprintable()
    assert refused.value.todo


@pytest.mark.parametrize(
    ("uri", "name", "folder"),
    [
        (MAST, "jcrx01iiq_raw.fits", False),
        ("https://example.org/a%20b/x%2Fy_raw.fits", "x/y_raw.fits", False),
        ("https://example.org/", "", False),
        ("s3://stpubdata/", "", True),
        ("s3://stpubdata/hst/public/jcrx", "jcrx", True),
        ("s3://stpubdata/hst/public/jcrx/", "", True),
        ("s3://stpubdata/hst/public/x_raw.fits.gz", "x_raw.fits.gz", False),
    ],
)
def test_name_of_the_file(uri: str, name: str, folder: bool) -> None:
    assert file_name(uri) == name
    assert names_folder(uri) is folder

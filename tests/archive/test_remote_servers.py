"""Reading files from servers that refuse, lie, stop, change their minds or lead elsewhere."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from helpers import refused, taken, unpacked_raw

from sbcdark.catalog.errors import UnreachableError
from sbcdark.pipeline.archive import http, remote_files
from sbcdark.pipeline.ingest.remote_ingestion import read_remote

if TYPE_CHECKING:
    from pathlib import Path

    from range_server import RangeServer

    from sbcdark.pipeline.archive.remote_files import RemoteStat


def told_of(url: str) -> str:
    """Return what is told of a file that cannot be had: its rejection, or that its host cannot be reached."""
    try:
        return refused(read_remote(url))
    except UnreachableError as error:
        return error.what


def test_server_that_refuses_head_is_asked_by_a_range(web: RangeServer, shared_data: Path) -> None:
    url = web.put("/jcrx01iiq_raw.fits", unpacked_raw(shared_data), head=False)
    found = taken(read_remote(url))
    assert found.size_byte == 2_134_080
    assert found.sha256 is None


@pytest.mark.parametrize("status", [401, 403, 404, 410, 429, 500, 503])
def test_what_the_server_does_not_give_is_rejected(web: RangeServer, shared_data: Path, status: int) -> None:
    url = web.put("/jcrx01iiq_raw.fits", unpacked_raw(shared_data), statuses=[status], always=True)
    assert ("does not exist" if status in {404, 410} else str(status)) in refused(read_remote(url))
    # What may pass is tried three times, not for ever; a refusal once, where GET refuses too what HEAD did.
    assert len(web.asked) == {403: 2, 429: 3, 500: 3, 503: 3}.get(status, 1)


def test_what_passes_is_tried_again(web: RangeServer, shared_data: Path) -> None:
    url = web.put("/jcrx01iiq_raw.fits", unpacked_raw(shared_data), statuses=[503, 0, 500, 502])
    assert taken(read_remote(url)).sha256 is None


def test_page_for_people_is_no_file(web: RangeServer) -> None:
    page = b"<html><title>Sign in</title></html>" * 3000
    assert "not a FITS file" in refused(read_remote(web.put("/jcrx01iiq_raw.fits", page)))
    assert web.body_bytes() < len(page)


def test_headers_that_never_end_are_not_read_to_the_end(web: RangeServer, shared_data: Path) -> None:
    content = unpacked_raw(shared_data)[:2880] + b"COMMENT ".ljust(80) * 100_000
    assert refused(read_remote(web.put("/jcrx01iiq_raw.fits", content)))
    assert web.body_bytes() < 900_000


def test_too_large_a_file_is_not_begun_with(web: RangeServer) -> None:
    url = web.put("/jcrx01iiq_raw.fits", bytes(65 * 2**20))
    assert "at most" in refused(read_remote(url))
    assert web.body_bytes() == 0


def test_more_than_was_announced_is_not_drawn(
    web: RangeServer, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "LARGEST_FILE", 1_000_000)
    url = web.put("/jcrx01iiq_raw.fits", unpacked_raw(shared_data), tells_size=False)
    assert "more than 1,000,000 bytes" in refused(read_remote(url))


def test_answers_that_break_off_are_rejected(web: RangeServer, shared_data: Path) -> None:
    url = web.put("/jcrx01iiq_raw.fits", unpacked_raw(shared_data), cut=1000)
    assert "connection dropped after 1,000 bytes" in refused(read_remote(url))


def test_silence_ends(web: RangeServer, shared_data: Path) -> None:
    url = web.put("/jcrx01iiq_raw.fits", unpacked_raw(shared_data), stalls=3.0)
    with pytest.raises(UnreachableError, match="does not answer"):
        read_remote(url)


def test_two_versions_are_never_mixed(web: RangeServer, shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = unpacked_raw(shared_data), unpacked_raw(shared_data, "jcrx01iyq")
    url = web.put("/jcrx01iiq_raw.fits", first)
    read = remote_files.read
    changes = iter(range(100))

    def change_then_read(uri: str, found: RemoteStat, start: int, stop: int) -> bytes:
        if start > 0 and (number := next(changes)) < most:
            web.put("/jcrx01iiq_raw.fits", second, etag=f'"change {number}"')
        return read(uri, found, start, stop)

    monkeypatch.setattr(remote_files, "read", change_then_read)
    most = 1
    found = taken(read_remote(url))
    assert found.exposure is not None
    assert (found.exposure.rootname, found.etag) == ("jcrx01iyq", '"change 0"')
    most = 100
    assert "changed while it was read" in refused(read_remote(url))


def test_redirects_are_followed_but_not_away_from_safety(web: RangeServer, shared_data: Path) -> None:
    target = web.put("/store/1", unpacked_raw(shared_data))
    assert taken(read_remote(web.put("/jcrx01iiq_raw.fits", b"", leads_to=target))).size_byte == 2_134_080
    loop = web.put("/jcrx01ijq_raw.fits", b"", leads_to=f"{web.url}/jcrx01ijq_raw.fits")
    assert refused(read_remote(loop))
    assert len(web.asked) < 40


@pytest.mark.parametrize("target", ["http://192.0.2.1/x_raw.fits", "//192.0.2.1/x_raw.fits", "ftp://192.0.2.1/x"])
def test_redirect_to_plain_http_elsewhere_is_not_followed(web: RangeServer, target: str) -> None:
    # Nobody has that address (RFC 5737): following it would take until the time limit.
    assert refused(read_remote(web.put("/jcrx01iiq_raw.fits", b"", leads_to=target)))
    assert len(web.asked) == 1


def test_proxy_is_asked_where_one_is_named(
    web: RangeServer, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", web.url.replace("//", "//somebody:hush@"))
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    url = "http://127.0.0.1:1/jcrx01iiq_raw.fits"
    web.put(url, unpacked_raw(shared_data))
    assert taken(read_remote(url)).size_byte == 2_134_080
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(UnreachableError):
        read_remote(url)


def test_passwords_of_the_user_are_sent_to_nobody(
    web: RangeServer, shared_data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login somebody password hush\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    monkeypatch.setenv("HOME", str(tmp_path))
    url = web.put("/jcrx01iiq_raw.fits", unpacked_raw(shared_data))
    assert taken(read_remote(url)).size_byte == 2_134_080
    assert taken(read_remote(web.put("/moved_raw.fits", b"", leads_to=url))).size_byte == 2_134_080
    assert not any(one.signed for one in web.asked)


@pytest.mark.parametrize(
    "answer",
    [
        b"\x00\xff garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1e9\r\nETag: \x1b[31m\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500_000,
        b"HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-5/" + b"9" * 300 + b"\r\nContent-Length: 0\r\n\r\n",
        b"",
    ],
    ids=["garbage", "negative", "strange", "endless", "999", "nowhere", "huge", "nothing"],
)
def test_answers_that_are_no_http_are_told(web: RangeServer, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve_it() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection, suppress(OSError):
                        connection.recv(65536)
                        connection.sendall(answer)

        thread = threading.Thread(target=serve_it, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/jcrx01iiq_raw.fits"
        assert told_of(url).isprintable()
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=10)
    assert web.asked == []

"""The pages live: the same as the report's, JSON as the command line prints it, errors with their status, no write."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

import pytest
from helpers import dump
from serving import serving

from sbcdark import Catalog
from sbcdark.catalog.opening import open_catalog
from sbcdark.pipeline.views.json_forms import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import sqlalchemy as sa
    from commands import Done
    from serving import Served


@pytest.fixture
def served(real_catalog: sa.Engine) -> Iterator[Served]:
    """Return a server of a catalog of the real files, on each engine in turn."""
    with serving(real_catalog.url.render_as_string(hide_password=False)) as running:
        yield running


def test_answers_are_those_of_the_command_line(
    served: Served, filled: Callable[..., Done], real_catalog: sa.Engine
) -> None:
    before = dump(real_catalog)
    printed: Any = filled("match", "jcmc11e6q", "--json", "--top", "3").json()
    assert served.json("/api/match?name=JCMC11E6Q&top=3") == printed
    assert served.json("/api/darks") == filled("darks", "--json").json()
    assert served.json("/api/exposures?kind=science&sort=contrast&descending=true&limit=2") == [
        plain(one) for one in Catalog(real_catalog).list_exposures(kind="science", sort="contrast", descending=True)[:2]
    ]
    why: Any = filled("why", "jcmc11e6q", "jcrx01ixq", "--json").json()
    assert served.json("/api/why?exposure=jcmc11e6q&dark=jcrx01ixq") == why
    assert served.json("/api/exposures/jcmc11010")["members"] == Catalog(real_catalog).show("jcmc11010")["members"]
    assert served.json("/api/selections?exposure=jcmc11e6q") == []
    described = served.json("/api/openapi.json")
    assert {"/api/match", "/api/why", "/api/photometry", "/api/selections"} <= set(described["paths"])
    assert {method for path in described["paths"].values() for method in path} == {"get"}
    status, kind, body = served.get("/")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert b"Catalog of SBC darks" in body
    assert served.get("/exposures/jcmc11e6q.html")[0] == 200
    assert served.get("/coverage.png")[1] == "image/png"
    assert dump(real_catalog) == before


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/match?name=jcxx11e6q", 404),
        ("/api/match", 422),
        ("/api/match?name=jcmc11e6q&top=0", 422),
        ("/api/match?name=jcmc11e6q&rule=beauty", 422),
        ("/api/match?name=jcmc11e6q&max_sigma=nan", 422),
        ("/api/match?" + "&".join(["name=jcmc11e6q"] * 21), 422),
        ("/api/match?name=" + "j" * 5000, 414),
        ("/api/darks?limit=1000000", 422),
        ("/api/darks?sort=beauty", 400),
        ("/api/selections/9999999", 404),
        ("/api/photometry?association=jcmc11010", 404),
        ("/api/exposures/%3Cscript%3E", 422),
        ("/api/nothing", 404),
    ],
)
def test_errors_are_json_with_their_status(once_served: Served, path: str, status: int) -> None:
    found, kind, body = once_served.get(path)
    assert (found, kind) == (status, "application/json")
    answer = json.loads(body)
    assert set(answer) == {"error", "todo"}
    assert answer["error"]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/exposures/jcmc11e7q.html", "The catalog has no exposure &#39;jcmc11e7q&#39;. Did you mean jcmc11"),
        ("/exposures/jcmc11010.html", "jcmc11010 is an association of jcmc11ctq, jcmc11e6q."),
        ("/associations/jcxx11010.html", "The catalog has no association &#39;jcxx11010&#39;."),
        ("/nothing.html", "There is no page &#39;nothing.html&#39;."),
        ("/exposures/..%2f..%2fetc%2fpasswd.html", "There is no page"),
        ("/pictures/..%2f..%2fetc%2fpasswd", "There is no page"),
        ("/../../etc/passwd", "There is no page"),
    ],
)
def test_what_has_no_page_is_a_page_that_helps(once_served: Served, path: str, said: str) -> None:
    status, kind, body = once_served.get(path)
    assert (status, kind) == (404, "text/html; charset=utf-8")
    page = body.decode()
    assert "<h1>Not found</h1>" in page
    assert said in page
    (link,) = re.findall(r'href="([^"]*)exposures.html">Exposures</a>, the', page)
    followed = urljoin(f"http://localhost{path}", f"{link}exposures.html")  # as a browser does
    assert once_served.get(urlsplit(followed).path)[0] == 200


def test_a_page_is_found_by_the_name_as_people_type_it(once_served: Served) -> None:
    assert b"<h1>jcmc11e6q</h1>" in once_served.get("/exposures/JCMC11E6.html")[2]


@pytest.mark.slow
def test_openapi_describes_each_answer(sqlite_catalog: sa.Engine, tmp_path: Path) -> None:
    catalog = Catalog(sqlite_catalog)
    catalog.run("jcmc11010", tmp_path / "products", apertures="circle:735,710,40", workers=1)
    paths = {
        "/api/status": "/api/status",
        "/api/exposures": "/api/exposures",
        "/api/darks": "/api/darks",
        "/api/exposures/{name}": "/api/exposures/jcmc11e6q",
        "/api/match": "/api/match?name=jcmc11e6q",
        "/api/why": "/api/why?exposure=jcmc11e6q&dark=jcrx01ixq",
        "/api/selections": "/api/selections?exposure=jcmc11e6q",
        "/api/selections/{selection}": "/api/selections/1",
        "/api/photometry": "/api/photometry?association=jcmc11010",
    }
    with serving(sqlite_catalog.url.render_as_string(hide_password=False)) as server:
        described = server.json("/api/openapi.json")["paths"]
        assert set(described) == set(paths)
        for path, asked in paths.items():
            schema = described[path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
            _require_described(server.json(asked), schema, asked)
        schema = described["/api/exposures/{name}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        _require_described(server.json("/api/exposures/jcmc11010"), {"anyOf": schema["anyOf"][::-1]}, "an association")
        rate = described["/api/darks"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["items"]
        assert rate["properties"]["box_rate_count_s_pix"] == {
            "type": ["number", "null"],
            "description": "rate in the box (ct / (s pix))",
        }


_PYTHON_TYPES = {"string": str, "integer": int, "number": float | int, "boolean": bool, "null": None, "array": list}


def _require_described(answer: Any, schema: Any, where: str) -> None:
    """Require that an answer has the keys and the types of its description, all the way down."""
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if "properties" in schema:
        assert set(answer) == set(schema["properties"]), where
        for key, value in answer.items():
            _require_described(value, schema["properties"][key], f"{where}: {key}")
    elif kinds == ["array"]:
        assert isinstance(answer, list), where
        for one in answer:
            _require_described(one, schema["items"], where)
    elif kinds == ["object"]:
        assert isinstance(answer, dict), where
    else:
        assert (
            answer is None
            if answer is None and "null" in kinds
            else any(
                isinstance(answer, _PYTHON_TYPES[kind])
                for kind in kinds
                if kind != "null"  # type: ignore[arg-type]
            )
        ), where


@pytest.fixture(scope="module")
def once_served(real_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return one server for many requests, on SQLite."""
    path = tmp_path_factory.mktemp("served") / "catalog.db"
    path.write_bytes(real_file.read_bytes())
    with serving(f"sqlite:///{path}") as running:
        yield running


def test_only_reading_is_answered_and_only_for_this_host(once_served: Served) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert once_served.get("/api/status", method)[0] == 405
    assert once_served.get("/api/status", "HEAD")[::2] == (200, b"")
    assert once_served.get("/api/status", headers={"Host": "example.org"})[0] == 400


def test_a_change_of_the_catalog_shows(served: Served, real_catalog: sa.Engine) -> None:
    assert served.json("/api/exposures/jcrx01ixq")["quality"] == "good"
    Catalog(real_catalog).retire("jcrx01ixq", "a try")
    time.sleep(1.1)
    assert served.json("/api/exposures/jcrx01ixq")["quality"] == "retired"
    assert b"a try" in served.get("/index.html")[2]


def test_an_address_in_use_is_one_message(once_served: Served, real_file: Path) -> None:
    words = ["--db", f"sqlite:///{real_file}", "serve", "--port", str(once_served.port)]
    done = subprocess.run(
        [sys.executable, "-m", "sbcdark.cli", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "cannot be used" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.long
@pytest.mark.slow
def test_fifty_clients_for_thirty_seconds(served: Served, real_catalog: sa.Engine) -> None:
    before = dump(real_catalog)
    names = [one.rootname for one in Catalog(real_catalog).list_exposures()]
    paths = [f"/api/match?name={name}&top={top}" for name in names for top in (1, 3, 5)]
    clients = served.loaded(50, 30, paths)
    out, errors = clients.communicate(timeout=120)
    assert clients.returncode == 0, errors
    found = json.loads(out)
    assert found["wrong"] == []
    assert found["requests"] > 50 * len(paths)
    assert found["median_ms"] < 50, found
    assert dump(real_catalog) == before


@pytest.mark.slow
def test_a_kill_leaves_the_catalog_whole(served: Served, real_catalog: sa.Engine) -> None:
    before = dump(real_catalog)
    paths = [f"/exposures/{one.rootname}.html" for one in Catalog(real_catalog).list_exposures()]
    clients = served.loaded(20, 30, paths)
    time.sleep(3)
    served.process.kill()
    clients.communicate(timeout=60)
    url = real_catalog.url.render_as_string(hide_password=False)
    again = open_catalog(url)
    assert dump(again) == before
    if again.dialect.name == "sqlite":
        with again.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    again.dispose()

"""The wheel holds every module and the migrations, and works where there is no checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
FOLDERS = ("catalog", "cli", "migrations", "pipeline")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a wheel through an sdist from what git knows, so that nothing stale is packed."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    source = folder / "source"
    for name in tracked:
        path = CHECKOUT / name
        if path.is_file() and not path.is_symlink():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(path.read_bytes())
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(folder), str(source)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    assert len(list(folder.glob("*.tar.gz"))) == 1
    (found,) = folder.glob("*.whl")
    return found


def test_wheel_holds_all_of_ours_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = {name for name in content.namelist() if ".dist-info/" not in name}
    expected = {
        f"sbcdark/{path.relative_to(CHECKOUT)}"
        for folder in FOLDERS
        for path in (CHECKOUT / folder).rglob("*")
        if path.suffix in {".py", ".mako", ".typed", ".html", ".css", ".js", ".json"}
    } | {f"sbcdark/{path.name}" for path in (CHECKOUT / "front").iterdir() if path.suffix in {".py", ".typed"}}
    assert names == expected


def test_type_checker_and_layers_see_all_of_ours() -> None:
    links = CHECKOUT / ".dev" / "sbcdark"
    assert {path.name for path in links.iterdir() if path.suffix == ".py"} == {
        path.name for path in (CHECKOUT / "front").glob("*.py")
    }
    assert all(path.exists() for path in links.iterdir())
    assert {path.name for path in links.iterdir() if path.suffix != ".py"} == set(FOLDERS)


def test_front_door_opens_from_the_wheel_and_from_here(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        content.extractall(tmp_path / "site")
    script = (
        "import sys, sbcdark\n"
        "heavy = {'astropy', 'numpy', 'sqlalchemy'} & {name.partition('.')[0] for name in sys.modules}\n"
        "assert not heavy, heavy\n"
        "from sbcdark import Catalog, __version__\n"
        "Catalog('none.db')\n"
        "assert not {'astropy', 'numpy'} & {name.partition('.')[0] for name in sys.modules}\n"
        "print(sbcdark.__file__)\n"
    )
    here = subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, capture_output=True, text=True)
    assert Path(here.stdout.strip()).parent == CHECKOUT / "front"
    without_hook = "import sys\nsys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f)]\n"
    path = f"sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
    there = subprocess.run(
        [sys.executable, "-c", without_hook + path + script], check=True, cwd=tmp_path, capture_output=True, text=True
    )
    assert Path(there.stdout.strip()).is_relative_to(tmp_path)
    assert not (tmp_path / "none.db").exists()


def test_migrations_run_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        content.extractall(tmp_path / "site")
    script = (
        "import sys\n"
        # Before the editable install's import hook, and without the checkout.
        "sys.meta_path[:] = [finder for finder in sys.meta_path if 'editable' not in repr(finder)]\n"
        f"sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "import sbcdark.catalog.schema as schema\n"
        f"assert schema.__file__.startswith({str(tmp_path)!r}), schema.__file__\n"
        "from sbcdark.catalog.opening import open_catalog\n"
        f"engine = open_catalog({'sqlite:///' + str(tmp_path / 'catalog.db')!r}, create=True)\n"
        "assert schema.differences(engine) == []\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path, timeout=60)


def test_sdist_holds_what_a_builder_needs(wheel: Path) -> None:
    (sdist,) = wheel.parent.glob("*.tar.gz")
    import tarfile  # noqa: PLC0415  only here

    with tarfile.open(sdist) as content:
        names = {name.partition("/")[2] for name in content.getnames()}
    assert {"alembic.ini", "LICENSE", "tests/conftest.py", "migrations/script.py.mako", "docs/guide.md"} <= names

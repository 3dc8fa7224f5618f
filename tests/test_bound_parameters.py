"""SQL is never put together from text: whatever goes into a statement by hand is a constant of the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[1]
SOURCES = sorted(
    path for folder in ("catalog", "cli", "migrations", "pipeline") for path in (CHECKOUT / folder).rglob("*.py")
)
RAW = {"text", "exec_driver_sql", "execute", "executemany", "executescript", "literal_column"}
"""What takes SQL as text."""


def put_together(tree: ast.AST) -> list[int]:
    """Return the lines on which text that is no constant is handed to something that takes SQL."""
    lines = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = ast.unparse(node.func)
        name = name.removeprefix("sa.") if name.startswith("sa.") else name.rpartition(".")[2]
        if name == "text" and ast.unparse(node.func) not in {"sa.text", "text"}:
            continue  # what matplotlib draws
        first = node.args[0]
        built = isinstance(first, ast.JoinedStr | ast.BinOp) or (
            isinstance(first, ast.Call) and getattr(first.func, "attr", "") in {"format", "join", "replace"}
        )
        if name in RAW and built:
            lines.append(node.lineno)
    return lines


def test_the_rule_finds_what_it_should() -> None:
    for code in ('sa.text(f"DELETE FROM {x}")', 'c.execute("a" + b)', 'c.exec_driver_sql("{}".format(x))'):
        assert put_together(ast.parse(code)) == [1]
    assert put_together(ast.parse('c.execute(sa.select(x)); sa.text("SELECT 1")')) == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_no_statement_is_put_together_from_text(path: Path) -> None:
    lines = path.read_text().splitlines()
    found = [lines[number - 1].strip() for number in put_together(ast.parse(path.read_text()))]
    # A number of this source; PRAGMA takes no parameter.
    assert [line for line in found if line != 'cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")'] == []

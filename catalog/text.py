"""Words for messages."""


def number(count: int, noun: str) -> str:
    """Return a count with its noun: "1 file", "2 files", "1 match", "2 matches"."""
    if count == 1:
        return f"{count} {noun}"
    return f"{count} {noun}{'es' if noun.endswith(('s', 'x', 'ch', 'sh')) else 's'}"

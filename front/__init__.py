"""Choose, model and subtract the dark of HST ACS/SBC exposures.

Use ``from sbcdark import Catalog``. Importing this package loads nothing heavy and connects to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sbcdark.front_door import Catalog

    __version__: str

__all__ = ["Catalog", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Catalog":
        from sbcdark.front_door import Catalog  # noqa: PLC0415  loaded on first use

        return Catalog
    if name == "__version__":
        from sbcdark.catalog.version import SOFTWARE_VERSION  # noqa: PLC0415

        return SOFTWARE_VERSION
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

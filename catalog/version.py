"""The software's version, as it is stored beside every result."""

from __future__ import annotations

from importlib.metadata import version

SOFTWARE_VERSION = version("sbcdark")

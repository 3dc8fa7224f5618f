"""The software version, as stored with every result."""

from __future__ import annotations

from importlib.metadata import version

SOFTWARE_VERSION = version("sbcdark")

"""The libraries that AstroDrizzle and the apertures need, without what is imported with them and not used here."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from contextlib import suppress
from importlib import metadata
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

ENVIRONMENT = {"ASTRODRIZ_NO_PARALLEL": "1", "MPLBACKEND": "Agg"}
"""No process pool for one kernel call, and no display for the plots of drizzlepac."""

_NOT_USED_HERE = ("scipy.signal", "stwcs.updatewcs.astrometry_utils", "drizzlepac.haputils.processing_utils")
"""Modules that AstroDrizzle imports for tasks that are not done here."""


def import_astrodrizzle() -> None:
    """Import AstroDrizzle, without the tools for alignment, catalogs and cosmic rays that are imported with it.

    They and their libraries take most of the time, and AstroDrizzle does not use them here.
    """
    os.environ |= ENVIRONMENT
    if "drizzlepac" not in sys.modules:
        package = import_bare("drizzlepac")
        package.__version__ = importlib.import_module("drizzlepac.version").__version__
    if "stsci.image" not in sys.modules:
        import_bare("stsci.image")
    for name in _NOT_USED_HERE:
        if name not in sys.modules:
            with suppress(ImportError):  # other versions do without it
                _import_lazily(name)
    import drizzlepac.acsData  # noqa: PLC0415  in the worker only
    import drizzlepac.astrodrizzle  # noqa: PLC0415
    from astropy.io import fits  # noqa: PLC0415

    # It would import tweakwcs and gwcs, and with them the rest of scipy: a second, to log their versions.
    drizzlepac.util.print_pkg_versions = _log_versions
    # astropy looks a setting up in its files for each value of each card: a seventh of the time of an association's
    # headers. In this process settings stay as they are.
    for name in ("enable_record_valued_keyword_cards", "strip_header_whitespace"):
        setattr(type(fits.conf), name, getattr(fits.conf, name))


def _log_versions(*, log: Any) -> None:
    """Log the versions of the packages that AstroDrizzle uses here, without importing them."""
    for name in ("drizzlepac", "numpy", "astropy", "stwcs", "fitsblender"):
        log.info("%s %s", name, metadata.version(name))


def import_bare(name: str) -> Any:
    """Put a package in place without what its `__init__` imports; its modules can be imported as usual."""
    package = importlib.util.module_from_spec(_spec(name))
    sys.modules[name] = package
    return package


def _import_lazily(name: str) -> None:
    """Import a module of a package when something in it is first used.

    A module of `importlib.util.LazyLoader` loads when its file is looked up, which astropy does to every module.
    """
    spec = _spec(name)
    module = sys.modules[name] = importlib.util.module_from_spec(spec)

    def load(attribute: str) -> Any:
        del vars(module)["__getattr__"]
        assert spec.loader is not None  # noqa: S101  it is a module of Python
        spec.loader.exec_module(module)
        return getattr(module, attribute)

    vars(module)["__getattr__"] = load


def _spec(name: str) -> ModuleSpec:
    """Find a module without importing the packages that hold it."""
    parent, _, _ = name.rpartition(".")
    found = PathFinder.find_spec(name, _spec(parent).submodule_search_locations if parent else None)
    if found is None:
        raise ImportError(f"{name} is not installed")
    return found

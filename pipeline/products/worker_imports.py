"""The libraries that a worker process needs, imported before it is forked: see `workers`."""

import atexit
import gc
import os
import shutil
import sys
import warnings

gc.disable()  # each worker enables it

# astropy and matplotlib do without: no worker writes tables as ASDF or draws in three dimensions.
for unused in ("asdf_astropy", "lxml", "mpl_toolkits.mplot3d"):
    sys.modules.setdefault(unused, None)  # type: ignore[arg-type]

# With `python -W error` a remark of a library would end the process.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import matplotlib.backends.backend_agg
    import matplotlib.figure
    import matplotlib.layout_engine
    import scipy.ndimage
    import scipy.special
    import sqlalchemy.dialects.sqlite

    from sbcdark.pipeline.drizzling.bare_imports import import_astrodrizzle, import_bare
    from sbcdark.pipeline.products import run
    from sbcdark.pipeline.products.workers import SOCKET_FOLDER

    import_astrodrizzle()
    # photutils.utils would read the metadata of all installed packages, which apertures do not need.
    import_bare("photutils")
    import_bare("photutils.utils")
    import photutils.aperture

# What was imported stays: no search for garbage visits it, neither in a worker, where it would copy the shared memory,
# nor at the end.
gc.freeze()

# The server ends with its owner, which removes the folder unless it was killed. Workers end without this.
if os.environ.get(SOCKET_FOLDER):
    atexit.register(shutil.rmtree, os.environ[SOCKET_FOLDER], ignore_errors=True)

__all__ = ["matplotlib", "photutils", "run", "scipy", "sqlalchemy"]

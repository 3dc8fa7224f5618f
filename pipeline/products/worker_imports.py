"""The libraries that a worker process needs, imported before it is forked: see `workers`."""

import warnings

# With `python -W error` a remark of a library would end the process.
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import matplotlib.backends.backend_agg
    import matplotlib.figure
    import matplotlib.layout_engine
    import photutils.aperture
    import scipy.ndimage
    import scipy.special
    import sqlalchemy.dialects.sqlite

    from sbcdark.pipeline.products import run
    from sbcdark.pipeline.products.drizzle_process import import_astrodrizzle

    import_astrodrizzle()

__all__ = ["matplotlib", "photutils", "run", "scipy", "sqlalchemy"]

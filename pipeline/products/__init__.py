"""Products from exposures and darks: science product, masterdark, photometry, and their records."""

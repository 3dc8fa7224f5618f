"""What is made of exposures and darks: science product, masterdark, photometry, and their records."""

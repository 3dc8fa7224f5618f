"""The dark model: templates, the fit of one exposure, sources, errors. Arrays in, arrays out."""

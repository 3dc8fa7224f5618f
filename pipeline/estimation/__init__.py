"""The dark of each exposure in detector pixels: its inputs, its templates, the exposures close in time, the fit."""

"""Products of a target: science, masterdark, net, photometry, dark-subtracted frames; their files and records."""

"""The SBC detector: constants, regions, defects, and count rates."""

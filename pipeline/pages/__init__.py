"""Pages of a catalog: static ones, and the same pages live, with JSON."""

"""Which darks fit an exposure, and why: rules, matches, reasons, and what has changed since."""

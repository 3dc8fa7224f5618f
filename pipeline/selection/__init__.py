"""Selection of darks for an exposure: rules, matches, reasons, and what has changed since."""

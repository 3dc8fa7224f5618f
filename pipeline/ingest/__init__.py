"""How files come into the catalog and stay true: discover, read, judge, verify; fetch from the archive."""

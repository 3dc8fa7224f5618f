"""Getting files into the catalog and keeping it current: discover, read, judge, verify; fetch from the archive."""

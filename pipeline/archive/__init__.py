"""Everything that talks to a server: MAST, downloads, files that stay remote, and their cache."""

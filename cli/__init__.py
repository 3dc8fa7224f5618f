"""The command line of sbcdark."""

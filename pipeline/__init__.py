"""The use cases of sbcdark, and the pure numbers and the edges (FITS, AstroDrizzle, pictures) that they are made of."""

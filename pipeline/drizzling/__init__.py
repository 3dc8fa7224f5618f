"""AstroDrizzle: its products, their grid, and the weights of an aperture on the native pixels."""

"""A simulated SBC archive with known truth, and the demonstration on it."""

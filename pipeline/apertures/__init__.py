"""Apertures and the sky beside them: as the user gives them, and on the pixels of a product."""

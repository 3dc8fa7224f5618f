"""Torture: many writers, sudden deaths, full disks and lost servers, and what the catalog holds after them."""

"""Alembic migrations of the catalog: one tree for SQLite and PostgreSQL."""

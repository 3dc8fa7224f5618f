"""The catalog of exposures, darks and results: models, engine, schema, queries, writes."""

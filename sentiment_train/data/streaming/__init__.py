"""Batches of shards that are too many to be stored: rows, blocks, data service, stream."""

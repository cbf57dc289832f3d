"""How text becomes batches: sources, splits, encoders, store, buckets, batches (in that order)."""

"""Everything that knows TF-Hub and the surgery of SavedModels."""

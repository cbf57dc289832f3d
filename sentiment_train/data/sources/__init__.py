"""Where labelled texts come from: one file per kind, each a `schema.Source`."""

"""One exact pass over a split, and the numbers that follow from it."""

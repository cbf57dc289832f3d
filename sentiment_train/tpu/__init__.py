"""The TPU check: what a TPU would run, compiled by its compiler where there is none."""

"""What is measured of this project inside a process: the probes of the groups."""

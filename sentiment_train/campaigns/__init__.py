"""Many runs: a list of them, each a process of its own, begun again where it was stopped."""

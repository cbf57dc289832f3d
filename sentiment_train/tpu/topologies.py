"""Names of the TPUs that a program can be compiled for, as `kind:chips`."""

from __future__ import annotations

from sentiment_train.errors import ConfigError, did_you_mean

# Along each axis of the network. v4 chips have two cores, the others one; more than 4 chips
# (v5e and v6e: 8) are on several machines.
_SHAPES = {
    "v4": ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4"),
    "v5e": ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8"),
    "v6e": ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8"),
}
TOPOLOGIES = tuple(f"{kind}:{shape}" for kind, shapes in _SHAPES.items() for shape in shapes)


def check_topology(name: str) -> None:
    """Raises ConfigError unless it is the name of a known one."""
    if name in TOPOLOGIES:
        return
    known = "; ".join(f"{kind}:{', '.join(shapes)}" for kind, shapes in _SHAPES.items())
    raise ConfigError(
        f"--topology={name} is not known.{did_you_mean(name, TOPOLOGIES)} Known are {known}."
    )

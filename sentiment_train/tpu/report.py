"""What the check found, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sentiment_train.tpu.check import Checked
    from sentiment_train.tpu.compiler import TpuCompiler
    from sentiment_train.tpu.largest import Largest
    from sentiment_train.tpu.programs import Program


def of_topology(compiler: TpuCompiler) -> str:
    cores = f"{compiler.cores} core{'s' if compiler.cores > 1 else ''}"
    return f"{compiler.topology}: {cores} with {_size(compiler.memory)} each, by its compiler"


def place_of(program: Program) -> str:
    """`training [32×216]`: the whole batch, of all cores."""
    return f"{program.name} [{program.bucket.rows}×{program.bucket.length}]"


def of_program(checked: Checked, compiler: TpuCompiler) -> tuple[str, str]:
    """A label and a line."""
    where = place_of(checked.program)
    if checked.refusal:
        return "refused", f"{where}: {checked.refusal.why}"
    compiled, share = checked.compiled, checked.needed / compiler.memory
    total = f"{_size(checked.needed)} of {_size(compiler.memory)} ({share:.1%})"
    if compiled.error or share > 1:
        return "too large", f"{where}: needs {total}"
    parts = {
        "arguments": compiled.arguments,
        "temporaries": compiled.temporaries,
        "outputs": compiled.outputs,
        "code": compiled.code,
        "other variables": checked.module.kept,
    }
    listed = ", ".join(f"{name} {_size(size)}" for name, size in parts.items() if size >= 1024)
    dynamic = "; has sizes that depend on values" if checked.module.dynamic else ""
    return "compiles", f"{where} in {compiled.seconds:.1f} s; {total}: {listed}{dynamic}"


def of_largest(program: Program, largest: Largest | None, cores: int) -> str:
    where = f"{program.name} [rows×{program.bucket.length}]"
    if largest is None:
        return f"{where}: no batch fits, or it cannot be compiled"
    rows = f"{largest.rows:,} rows a core, {largest.rows * cores:,} in all"
    if largest.compiled:
        return f"{where}: {rows} (compiled)"
    return f"{where}: about {rows} (rough estimate {largest.by})"


def _size(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.3g} {unit}" if size < 100 else f"{size:.0f} {unit}"
        size /= 1024
    return f"{size:.2f} GiB"

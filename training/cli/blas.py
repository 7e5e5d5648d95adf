"""A faster OpenBLAS kernel for CPUs that OpenBLAS does not know.

OpenBLAS selects kernels by CPU model when it is loaded. It runs AMD CPUs that are newer than itself with Haswell's AVX2
kernels, at half the speed of AVX-512. Only an environment variable set before NumPy is imported changes that, so
commands re-execute themselves with it. Importing `training` as a library has no such effect.
"""

import logging
import os
import sys
from collections.abc import Set
from pathlib import Path

log = logging.getLogger(__name__)

_VARIABLE = "OPENBLAS_CORETYPE"
_AVX2_KERNELS = frozenset({"haswell", "zen"})
_AVX512 = frozenset({"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"})
"""The instruction sets of the Skylake-X kernels, all of which a CPU must have."""


def faster_core_type(architecture: str, cpu_flags: Set[str]) -> str | None:
    """Return a faster core type than OpenBLAS's choice, or None."""
    return "SKYLAKEX" if architecture.lower() in _AVX2_KERNELS and cpu_flags >= _AVX512 else None


def reexec_with_faster_core_type() -> None:
    """Re-execute this command with a faster core type, if there is one; otherwise return.

    Call it first: the process keeps only its id, arguments and open files.
    """
    cpu_flags = _cpu_flags()
    if _VARIABLE in os.environ or not cpu_flags >= _AVX512:
        return
    import numpy as np  # noqa: F401 -- loads OpenBLAS
    from threadpoolctl import threadpool_info  # type: ignore[import-untyped]  # it has no types

    for library in threadpool_info():
        if better := faster_core_type(library.get("architecture") or "", cpu_flags):
            reexec(better)


def reexec(core_type: str) -> None:
    """Re-execute this command with a core type."""
    log.debug("OpenBLAS does not know this CPU; restarting with %s=%s", _VARIABLE, core_type)
    sys.stdout.flush()
    os.environ[_VARIABLE] = core_type
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 -- our own command again


def _cpu_flags() -> Set[str]:
    """Return the flags of the first CPU, as Linux names them; empty if unknown."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), ()))

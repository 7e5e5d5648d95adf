"""Which matrix kernels NumPy's OpenBLAS runs on, and a better choice for the CPUs that it does not know.

OpenBLAS looks for the CPU's model when it is loaded. AMD CPUs newer than itself it takes for a Haswell and runs AVX2
kernels on them although they have AVX-512, at half the speed. Its choice can be overruled only by a variable that is
set before NumPy is imported; so the commands that need the speed start themselves once more with it. Importing
`training` as a library changes nothing.
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
"""What the kernels for Skylake-X use; a CPU without one of these would crash on them."""


def faster_core_type(architecture: str, cpu_flags: Set[str]) -> str | None:
    """Name the kernel to use instead of OpenBLAS's choice; None when that choice is right for the CPU."""
    return "SKYLAKEX" if architecture.lower() in _AVX2_KERNELS and cpu_flags >= _AVX512 else None


def reexec_with_faster_core_type() -> None:
    """Start this command once more with a better kernel if there is one; returns when there is nothing to better.

    Call it first of all: the process keeps its id, its arguments and its files, and nothing else.
    """
    cpu_flags = _cpu_flags()
    if _VARIABLE in os.environ or not cpu_flags >= _AVX512:
        return
    import numpy as np  # noqa: F401 -- brings OpenBLAS in, so that it can be asked
    from threadpoolctl import threadpool_info  # type: ignore[import-untyped]  # it brings no types

    for library in threadpool_info():
        if better := faster_core_type(library.get("architecture") or "", cpu_flags):
            reexec(better)


def reexec(kernel: str) -> None:
    """Start this command once more, on this kernel."""
    log.debug("OpenBLAS takes this CPU for another; starting again with %s=%s", _VARIABLE, kernel)
    sys.stdout.flush()
    os.environ[_VARIABLE] = kernel
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 -- our own command again


def _cpu_flags() -> Set[str]:
    """List what the first CPU can do, by Linux's names; nothing where that cannot be known."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), ()))

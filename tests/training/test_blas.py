"""The choice of OpenBLAS's kernel; that it is put to use is tried with a kernel that every AVX2 machine can run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from training.cli.blas import faster_core_type

AVX2 = {"avx", "avx2", "fma"}
AVX512 = AVX2 | {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"}

COMMAND = """
import os, sys
from training.cli.blas import reexec
if "OPENBLAS_CORETYPE" not in os.environ:
    reexec("HASWELL")
import numpy, threadpoolctl
print(*{library["architecture"] for library in threadpoolctl.threadpool_info()}, os.getpid(), *sys.argv[1:])
"""


@pytest.mark.parametrize("architecture", ["Haswell", "Zen"])
def test_a_cpu_with_avx512_that_is_taken_for_one_without_gets_better_kernels(architecture: str) -> None:
    assert faster_core_type(architecture, AVX512) == "SKYLAKEX"


@pytest.mark.parametrize("missing", sorted(AVX512 - AVX2))
def test_a_cpu_that_lacks_one_instruction_set_never_gets_kernels_that_use_it(missing: str) -> None:
    assert faster_core_type("Haswell", AVX512 - {missing}) is None


@pytest.mark.parametrize("architecture", ["SkylakeX", "Cooperlake", "SapphireRapids", "neoversen1", ""])
def test_a_right_choice_stays(architecture: str) -> None:
    assert faster_core_type(architecture, AVX512) is None


def test_a_restarted_command_runs_on_the_kernel_and_keeps_its_id_and_arguments() -> None:
    if "avx2" not in (Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""):
        pytest.skip("needs a CPU with AVX2 to run a kernel of one's choice")
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    command = [sys.executable, "-c", COMMAND, "first", "second argument"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    printed, _ = process.communicate(timeout=180)
    assert printed.split(maxsplit=2) == ["Haswell", str(process.pid), "first second argument\n"]

"""Fuzzing of the readers of bytes, each alone, and of requests that come in pieces over sockets.

    python -m benchmarks.fuzz --minutes 60 [--reader plain_png …] [--seed 0] [--found FOLDER]

Each reader has the same share of the time, in a process of its own: by Atheris, which follows what the Python code
does with its input, when the extra `fuzz` is installed, else by random changes of good inputs. What a reader lets
through that is not in its contract, or reads in another way than the ordinary reader, is a finding; the smallest input
of each is kept in the folder. Exits with 1 when there are findings.
"""

import argparse
import hashlib
import importlib.util
import json
import random
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

SOCKETS = "sockets"


class Findings:
    """Runs one reader, counts, and keeps the smallest input of each finding."""

    def __init__(self, name: str, folder: Path) -> None:
        """Keep findings below a folder."""
        from tests.fuzz.readers import readers

        self.reader, self._folder = readers()[name], folder / name
        self.executions, self._smallest = 0, dict[str, tuple[int, str]]()

    def run(self, content: bytes) -> None:
        """Let the reader have one input."""
        self.executions += 1
        try:
            self.reader.check(content)
        except Exception as error:  # whatever comes out is what is looked for
            self._keep(content, error)

    def _keep(self, content: bytes, error: Exception) -> None:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} at {Path(last.filename).name}:{last.lineno}"
        if place in self._smallest and self._smallest[place][0] <= len(content):
            return
        self._smallest[place] = len(content), f"{place}: {str(error)[:200]}"
        self._folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(place.encode()).hexdigest()[:12]
        (self._folder / f"{name}.bin").write_bytes(content)
        (self._folder / f"{name}.txt").write_text("".join(traceback.format_exception(error)))

    def report(self) -> str:
        """Write what came of it as JSON."""
        return json.dumps({"executions": self.executions, "findings": [text for _, text in self._smallest.values()]})


def run_here(name: str, seconds: float, seed: int, folder: Path, result: Path) -> None:
    """Run one reader in this process; its figures are written to a file, for Atheris ends the process."""
    warnings.simplefilter("error")
    uses_atheris = importlib.util.find_spec("atheris") is not None
    if uses_atheris:
        import atheris

        with atheris.instrument_imports(include=["service", "training"]):
            findings = Findings(name, folder)
    else:
        findings = Findings(name, folder)
    seeds = findings.reader.seeds()
    for content in seeds:
        findings.run(content)
    random_ = random.Random(seed)  # noqa: S311 -- not for secrets
    end = time.monotonic() + seconds
    next_report = 0.0

    def one(content: bytes) -> None:
        nonlocal next_report
        findings.run(content)
        if (now := time.monotonic()) > next_report:
            result.write_text(findings.report())
            next_report = min(now + 2, end)

    from tests.fuzz.mutation import mutated

    if not uses_atheris:
        while time.monotonic() < end:
            one(mutated(seeds, random_))
        result.write_text(findings.report())
        return
    corpus = folder / "corpus" / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(content)
    arguments = [f"-max_total_time={max(1, int(seconds))}", f"-seed={seed + 1}", "-max_len=65536", "-verbosity=0"]
    atheris.Setup([sys.argv[0], *arguments, str(corpus)], one)
    atheris.Fuzz()


def run_reader(name: str, seconds: float, seed: int, folder: Path) -> bool:
    """Run one reader in a process of its own and print its figures; tell whether nothing was found."""
    result = folder / f"{name}.json"
    result.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.fuzz", "--child", name, "--seconds", str(seconds), "--seed", str(seed)]
    done = subprocess.run([*command, "--found", str(folder)], capture_output=True, text=True, check=False)
    if not result.exists():
        print(f"{name}: did not run\n{done.stderr[-2000:]}")
        return False
    figures = json.loads(result.read_text())
    has_died = done.returncode != 0
    print(f"{name}: executions {figures['executions']:,}, findings {len(figures['findings']) + has_died}", flush=True)
    for text in figures["findings"]:
        print(f"  {text}")
    if has_died:
        print(f"  the process ended with {done.returncode}: {done.stderr[-1000:]}")
    return not figures["findings"] and not has_died


def main() -> None:
    """Run all readers, or those that are named."""
    from tests.fuzz.readers import readers

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--reader", action="append", choices=[*readers(), SOCKETS])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--found", type=Path, default=Path(tempfile.gettempdir(), "glyphserve-fuzz"))
    options = parser.parse_args()
    names = options.reader or [*readers(), SOCKETS]
    seconds = options.minutes * 60 / len(names)
    options.found.mkdir(parents=True, exist_ok=True)
    print(f"{seconds:.0f} s a reader; findings are kept in {options.found}", flush=True)
    is_good = True
    for name in names:
        if name == SOCKETS:
            from tests.fuzz.sockets import run_sockets

            executions, found = run_sockets(seconds, options.seed, options.found / SOCKETS)
            print(f"{name}: executions {executions:,}, findings {len(found)}")
            for complaint, message in found.items():
                print(f"  {complaint}: {message[:300]!r}")
            is_good &= not found
        else:
            is_good &= run_reader(name, seconds, options.seed, options.found)
    sys.exit(not is_good)


def child() -> None:
    """Run one reader, as `run_reader` asks for it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--child")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--found", type=Path)
    options = parser.parse_args()
    result = options.found / f"{options.child}.json"
    run_here(options.child, options.seconds, options.seed, options.found, result)


if __name__ == "__main__":
    child() if "--child" in sys.argv else main()

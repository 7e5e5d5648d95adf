"""What each hand-written reader of the fast path is worth: the server with it and without it, in one run.

    python -m benchmarks.fast_readers [--seconds 3] [--rounds 5]

Needs `wrk` and two cores: the servers have the first, the load has the second. All servers are started, then loaded
one after the other, and the rounds repeat that. Printed are medians over the rounds: requests a second from 32 clients,
and the server's CPU time for one. A reader is kept when it is worth 5 % for a form that it reads.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from benchmarks.servers.started import Server, trained_weights
from benchmarks.wrk import Form, Load, Measured, forms
from service.registry.registry import Registry
from service.registry.store import open_store
from service.settings import Settings

WITHOUT = {
    "all": "pass",
    "request head": "fast_path.parse_fast_request = lambda *_: None",
    "PNG": "fast_preprocess.decode_fast_png = lambda *_: None",
    "JPEG": "fast_preprocess.decode_fast_jpeg = lambda *_: None",
    "glyph": "fast_preprocess.fills_box = lambda *_: False",
    "the fast path": "fast_path.FastPath.try_accept = fast_path.FastPath.try_accept_data = lambda *_: None",
}
"""What is taken out of a server, by the line that does it."""
SERVE = """
from service.server import fast_path, fast_preprocess
{change}
from pathlib import Path
from service.server.uvicorn_server import make_server
from service.settings import Settings
make_server(Settings(home=Path({home!r}), port={port})).run()
"""


def server(name: str, home: Path) -> Server:
    """Make a server without one of its readers; `all` lacks nothing."""

    def command(python: str, port: int) -> list[str]:
        return [python, "-P", "-c", SERVE.format(change=WITHOUT[name], home=str(home), port=port)]

    return Server(name, Path(sys.executable), command, environment={})


def cell(mine: Sequence[Measured], base: Sequence[Measured]) -> str:
    """Write the rate, the CPU time, and how much both change against a server that lacks nothing."""
    rates, costs = (
        [statistics.median(getattr(one, key) for one in many) for many in (mine, base)] for key in ("rate", "cpu")
    )
    rate, cost = ((now / before - 1) * 100 for now, before in (rates, costs))
    return f"{rates[0]:,.0f}/s ({rate:+.0f} %), {costs[0]:.0f} µs ({cost:+.0f} %)"


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(Path(folder, "bytecode"))
        weights, pictures = trained_weights(Path(folder))
        home = Path(folder, "home")
        registry = Registry(open_store(Settings(home=home).store_location))
        content = weights.read_bytes()
        details = {"labels": list("0123456789"), "weights_sha256": sha256(content).hexdigest()}
        registry.promote("mnist", "production", registry.publish("mnist", content, details).version)
        servers = {name: server(name, home) for name in WITHOUT}
        shown = [form for form in forms(pictures) if form[1] == 32 and form[0] != "tensor"]
        measured: dict[tuple[str, Form], list[Measured]] = {}
        try:
            for each in servers.values():
                each.start(Load(each, *shown[0]))
                each.settle()
            for number in range(given.rounds):
                for form in shown:
                    for name, each in servers.items():
                        found = Load(each, *form).run(given.seconds, Path(folder))
                        measured.setdefault((name, form), []).append(found)
                print(f"round {number + 1} of {given.rounds}", file=sys.stderr)
        finally:
            for each in servers.values():
                each.stop()
        print(f"| without | {' | '.join(form[0] for form in shown)} |\n|---{'|---' * len(shown)}|")
        for name in WITHOUT:
            cells = [cell(measured[name, form], measured["all", form]) for form in shown]
            print(f"| {'nothing' if name == 'all' else name} | {' | '.join(cells)} |")
        wrong = sum(one.wrong for many in measured.values() for one in many)
        print(f"\nwrong answers: {wrong:.0f}")


if __name__ == "__main__":
    main()

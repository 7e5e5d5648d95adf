"""The servers of `serving.py`: how each is installed, started and watched."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from benchmarks.wrk import Form, Load

ROOT = Path(__file__).parents[2]
OWN = ["numpy", "pillow"]
PACKAGES = {
    "litserve": ["litserve", "python-multipart", *OWN],
    "bentoml": ["bentoml", *OWN],
    "mlserver": ["mlserver", *OWN],
}
"""What the peers need in environments of their own; the others run in this one."""

START_SECONDS = 90.0


class Server:
    """One server as a process, on the first core."""

    def __init__(
        self,
        name: str,
        python: Path,
        command: Callable[[str, int], list[str]],
        path: str = "/predict",
        *,
        environment: dict[str, str],
    ) -> None:
        """`command` gives the arguments for a Python and a port."""
        self.name, self.port = name, free_port()
        self.url = f"http://127.0.0.1:{self.port}{path}"
        self._path, self._environment = path, environment
        self._command = command(str(python), self.port)
        self.start_seconds = 0.0

    def takes(self, form: "Form") -> bool:
        """Tell whether the server knows a form: MLServer's is the tensor, and the others' are pictures."""
        if self.name.startswith("constant"):
            return form[0] == "PNG 28×28"
        return (form[0] == "tensor") == (self.name == "mlserver")

    def start(self, load: "Load") -> None:
        """Start it, and wait for its first answer."""
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"} | self._environment
        started = time.perf_counter()
        self._process = subprocess.Popen(
            ["taskset", "--cpu-list", "0", *self._command],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=environment.get("BENCHMARK_FOLDER", ROOT),
            start_new_session=True,
        )
        while time.perf_counter() - started < START_SECONDS:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.request("POST", self._path, load.body, {"Content-Type": load.kind})
                if connection.getresponse().status == 200:
                    self.start_seconds = time.perf_counter() - started
                    return
            except OSError:
                pass
            time.sleep(0.005)
        sys.exit(f"{self.name} did not answer within {START_SECONDS:.0f} s")

    def settle(self) -> None:
        """Wait for an answer to another request: by then it has imported all that it ever does."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=START_SECONDS)
        connection.request("GET", "/")
        connection.getresponse().read()

    def stop(self) -> None:
        """End it with all its processes."""
        if hasattr(self, "_process"):
            for pid in self._family(self._all_stats()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()

    def cpu_seconds(self) -> float:
        """Add up the CPU time of its processes."""
        ticks = os.sysconf("SC_CLK_TCK")
        return sum(sum(map(int, stat[11:13])) / ticks for stat in self._stats())

    def mebibytes(self) -> float:
        """Add up the resident memory of its processes."""
        return sum(int(stat[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20 for stat in self._stats())

    def _stats(self) -> list[list[str]]:
        """Read `/proc/…/stat` from its third field on, of the process and of all that stem from it."""
        stats = self._all_stats()
        return [stats[pid] for pid in self._family(stats)]

    def _all_stats(self) -> dict[int, list[str]]:
        stats = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                stats[int(path.parent.name)] = path.read_text().rpartition(")")[2].split()
            except OSError:
                continue
        return stats

    def _family(self, stats: dict[int, list[str]]) -> list[int]:
        family = [self._process.pid]
        for parent in family:  # it grows while it is walked
            family += [pid for pid, fields in stats.items() if int(fields[1]) == parent]
        return [pid for pid in family if pid in stats]


def free_port() -> int:
    """Find a port that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def make_environments(names: list[str], folder: Path) -> None:
    """Install what is not installed yet."""
    for name in names:
        if name in PACKAGES and not (folder / name / "done").exists():
            print(f"installing {name}", file=sys.stderr)
            subprocess.run([sys.executable, "-m", "venv", str(folder / name)], check=True)
            pip = [str(folder / name / "bin" / "pip"), "install", "--quiet", *PACKAGES[name]]
            subprocess.run(pip, check=True)
            (folder / name / "done").touch()


def trained_weights(folder: Path) -> tuple[Path, dict[str, tuple[np.ndarray, str]]]:
    """Train 784-128-64-10 a little; answer its file and a digit that it reads rightly, with its label."""
    from training import MLP, FitConfig, MLPConfig, fit, save
    from training.data import load_dataset
    from training.vision.input_spec import InputSpec

    digits = load_dataset("starter").train
    network = MLP(MLPConfig((784, 128, 64, 10)), 0)
    x = InputSpec().to_features(digits.images)
    fit(network, x, digits.labels, FitConfig(epochs=5))
    save(network, folder / "weights.npz")
    place = int(np.flatnonzero(network.predict(x[:100]).argmax(axis=1) == digits.labels[:100])[0])
    return folder / "weights.npz", {"digit": (digits.images[place], str(digits.labels[place]))}


def ours(name: str, environments: Path, weights: Path) -> Server:  # noqa: ARG001 -- one type for the table
    """This project, with everything on; the network is published and promoted first."""
    from service.registry.registry import Registry
    from service.registry.store import open_store
    from service.settings import Settings

    home = weights.parent / "home"
    registry = Registry(open_store(Settings(home=home).store_location))
    content = weights.read_bytes()
    details = {"labels": list("0123456789"), "weights_sha256": sha256(content).hexdigest()}
    registry.promote("mnist", "production", registry.publish("mnist", content, details).version)
    command = ["-P", "-m", "service", "serve", "--no-worker", "--home", str(home), "--port"]
    return Server(name, Path(sys.executable), lambda python, port: [python, *command, str(port)], environment={})


def uvicorn_app(app: str) -> Callable[[str, Path, Path], Server]:
    """An application under uvicorn as it comes with uvloop and httptools, without its access log."""

    def make(name: str, environments: Path, weights: Path) -> Server:  # noqa: ARG001 -- one type for the table
        options = ["--no-access-log", "--log-level", "warning", "--port"]
        return Server(
            name,
            Path(sys.executable),
            lambda python, port: [python, "-m", "uvicorn", f"benchmarks.servers.{app}:app", *options, str(port)],
            environment={"BENCHMARK_WEIGHTS": str(weights)},
        )

    return make


def litserve(name: str, environments: Path, weights: Path) -> Server:
    """LitServe."""
    script = str(ROOT / "benchmarks" / "servers" / "lit.py")
    python = environments / name / "bin" / "python"
    variables = {"BENCHMARK_WEIGHTS": str(weights)}
    return Server(name, python, lambda python, port: [python, "-P", script, str(port)], environment=variables)


def bentoml(name: str, environments: Path, weights: Path) -> Server:
    """BentoML."""
    python = environments / name / "bin" / "python"
    command = ["-m", "bentoml", "serve", "benchmarks.servers.bento:Reader", "--port"]
    variables = {"BENCHMARK_WEIGHTS": str(weights), "BENTOML_DO_NOT_TRACK": "1"}
    return Server(name, python, lambda python, port: [python, *command, str(port)], environment=variables)


def mlserver(name: str, environments: Path, weights: Path) -> Server:
    """MLServer, without its pool of processes."""
    folder = weights.parent / "mlserver"
    folder.mkdir(exist_ok=True)
    python = environments / name / "bin" / "python"
    variables = {"BENCHMARK_WEIGHTS": str(weights), "BENCHMARK_FOLDER": str(folder)}
    server = Server(
        name,
        python,
        lambda python, _: [python, str(Path(python).with_name("mlserver")), "start", "."],
        "/v2/models/digits/infer",
        environment=variables,
    )
    settings: dict[str, Any] = {"http_port": server.port, "grpc_port": free_port(), "metrics_port": free_port()}
    (folder / "settings.json").write_text(json.dumps(settings | {"parallel_workers": 0, "debug": False}))
    model = {"name": "digits", "implementation": "benchmarks.servers.ml.Reader"}
    (folder / "model-settings.json").write_text(json.dumps(model))
    return server


SERVERS: dict[str, Callable[[str, Path, Path], Server]] = {
    "fastapi": uvicorn_app("plain_fastapi"),
    "ours": ours,
    "litserve": litserve,
    "bentoml": bentoml,
    "mlserver": mlserver,
    "constant": uvicorn_app("constant"),
}

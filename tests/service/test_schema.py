"""The whole interface against its own description, by schemathesis (R2).

python -m pytest -s -m schema
GLYPHSERVE_SCHEMA_EXAMPLES=200 python -m pytest -s -m schema      more, for the patient
"""

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from service.api.keys import Keys
from service.registry.store import open_store
from service.settings import Settings
from tests.hostile.started import impatient_server
from tests.service.conftest import wait_until

EXAMPLES = os.environ.get("GLYPHSERVE_SCHEMA_EXAMPLES", "5")
"""Of each kind, for each operation."""
LEAST_CASES = 2000
NOT_EXPECTED = "use_after_free"
"""A job that was cancelled is still told of; that deleted samples are gone is tested with the samples."""
CONFIG = Path(__file__).with_name("schemathesis.toml")


@pytest.mark.schema
def test_the_interface_keeps_to_its_description(tmp_path: Path) -> None:
    with impatient_server(tmp_path / "home") as server:
        key = Keys(open_store(Settings(home=tmp_path / "home").store_location)).create(("admin",))[1]
        wait_until(lambda: server.http.get("/models").status_code == 401, "the key")
        address = f"{server.url}/openapi.json"
        options = [
            "--checks",
            "all",
            "--exclude-checks",
            NOT_EXPECTED,
            "--max-examples",
            EXAMPLES,
            "--generation-deterministic",
        ]
        command = ["schemathesis", "--config-file", str(CONFIG), "run", address, "--no-color", *options]
        started = time.monotonic()
        run = subprocess.run(
            [*command, "-H", f"Authorization: Bearer {key}"], capture_output=True, text=True, check=False, cwd=tmp_path
        )
        ready = server.http.get("/health/ready")
    print(f"{run.stdout[run.stdout.find('API Operations') :]}in {time.monotonic() - started:.0f} s")  # noqa: T201
    assert ready.status_code == 200
    assert run.returncode == 0, run.stdout + run.stderr
    cases = re.search(r"([\d,]+) generated", run.stdout)
    assert cases
    assert int(cases[1].replace(",", "")) >= LEAST_CASES

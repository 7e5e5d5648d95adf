"""Compose files, really run: what the tests of containers ask of a Docker Engine."""

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]

AT_HAND = {
    "NGINX_IMAGE": "nginx:stable-alpine",
    "POSTGRES_IMAGE": "postgres:15-alpine",
    "PROMETHEUS_IMAGE": "prom/prometheus:latest",
}
"""What tests run instead of the pinned images: names that an engine without a registry may have, too."""


def engine_answers() -> bool:
    """Tell whether there is a Docker Engine."""
    return bool(shutil.which("docker")) and docker("info", check=False).returncode == 0


def docker(*arguments: str, check: bool = True, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    done = subprocess.run(
        ["docker", *arguments], input=given, capture_output=True, check=False, env=os.environ | {"DOCKER_BUILDKIT": "0"}
    )
    assert done.returncode == 0 or not check, (done.stdout + done.stderr).decode()
    return done


def can_be_had(image: str) -> bool:
    """Tell whether an image is here, or can be pulled."""
    here = docker("image", "inspect", image, check=False).returncode == 0
    return here or docker("pull", "--quiet", image, check=False).returncode == 0


class Composed:
    """A project of some compose files."""

    def __init__(self, project: str, files: tuple[str, ...], variables: Mapping[str, str] | None = None) -> None:
        """Run nothing yet. Compose v2 is a plugin of docker, Compose v1 a program."""
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
        self.project, self.variables = project, AT_HAND | dict(variables or {})
        self._command = ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]
        self._command += ["--project-name", project, *(part for file in files for part in ("--file", file))]

    def run(self, *arguments: str) -> str:
        environment = os.environ | {"DOCKER_BUILDKIT": "0"} | self.variables
        command = [*self._command, *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def container(self, service: str) -> str:
        return self.run("ps", "--quiet", service).strip()

    def inspected(self, service: str, template: str) -> str:
        return docker("inspect", "--format", template, self.container(service)).stdout.decode().strip()

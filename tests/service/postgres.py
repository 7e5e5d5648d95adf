"""A real PostgreSQL of one's own, to start, to stop and to pull the plug of."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.service.conftest import wait_until

FOLDERS = (*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True), Path("/usr/local/pgsql/bin"))


def programs() -> Path | None:
    """Find the folder of PostgreSQL's programs, which are seldom on the path."""
    found = shutil.which("initdb")
    folders = [*FOLDERS, Path(found).resolve().parent] if found else FOLDERS
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


class Postgres:
    """A database server in a folder, reached by a socket in it."""

    def __init__(self, folder: Path, bin_folder: Path) -> None:
        self._folder, self._bin = folder, bin_folder
        self._user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
        if self._user:
            shutil.chown(folder, self._user)
        self._run("initdb", "-D", str(folder / "data"), "-U", "glyphserve", "-A", "trust", "-E", "UTF8")
        self.start()
        self._run("createdb", "-h", str(folder), "-U", "glyphserve", "glyphserve")

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://glyphserve@/glyphserve?host={self._folder}"

    def start(self) -> None:
        command = [str(self._bin / "postgres"), "-D", str(self._folder / "data"), "-k", str(self._folder)]
        command += ["-c", "listen_addresses="]
        self._process = subprocess.Popen(
            command, user=self._user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self._folder
        )
        wait_until(self.is_ready, "PostgreSQL")

    def is_ready(self) -> bool:
        asked = subprocess.run(
            [self._bin / "pg_isready", "-h", self._folder, "-U", "glyphserve", "-d", "postgres"],
            capture_output=True,
            check=False,
        )
        return asked.returncode == 0

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop it: SIGINT cuts all connections, SIGQUIT is as if the plug was pulled."""
        self._process.send_signal(how)
        self._process.wait(30)

    def restart(self, how: signal.Signals = signal.SIGINT) -> None:
        self.stop(how)
        self.start()

    def dump(self, file: Path) -> None:
        """Write the database to a file."""
        command = [str(self._bin / "pg_dump"), "--format=custom", f"--file={file}", self._name("glyphserve")]
        subprocess.run(command, check=True, capture_output=True)

    def restored(self, file: Path, name: str) -> str:
        """Bring a dump back as another database, and give its URL."""
        self._run("createdb", "-h", str(self._folder), "-U", "glyphserve", name)
        command = [str(self._bin / "pg_restore"), f"--dbname={self._name(name)}", str(file)]
        subprocess.run(command, check=True, capture_output=True)
        return self.url.replace("@/glyphserve?", f"@/{name}?")

    def _name(self, database: str) -> str:
        return f"postgresql://glyphserve@/{database}?host={self._folder}"

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [self._bin / program, *arguments], user=self._user, check=True, capture_output=True, cwd=self._folder
        )


@contextmanager
def running_postgres(bin_folder: Path) -> Iterator[Postgres]:
    """Start one in a folder of its own, that its user may enter."""
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        postgres = Postgres(Path(name), bin_folder)
        try:
            yield postgres
        finally:
            if postgres._process.poll() is None:
                postgres.stop()

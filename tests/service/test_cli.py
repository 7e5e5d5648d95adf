"""The command `glyphserve` as a real process."""

import contextlib
import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest

from tests.service.conftest import COMMAND, Server, png
from tests.service.processes import ENDLESS, trainers_of
from tests.service.test_worker import queue_of, running_worker, submit, wait_for_epochs
from training import Dataset
from training.data import load_dataset


def run(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *arguments]
    environment_home = (
        ["--home", str(home)] if arguments and arguments[0] not in ("--help", "--version", "worker") else []
    )
    return subprocess.run([*command, *environment_home], capture_output=True, text=True, timeout=600, check=False)


def test_predict_reads_images_and_says_how_sure_it_is(tmp_path: Path, digits: Dataset) -> None:
    for number in range(2):
        (tmp_path / f"{number}.png").write_bytes(png(digits.images[number]))
    files = [str(tmp_path / f"{number}.png") for number in range(2)]
    shown = run("predict", *files, home=tmp_path / "home")
    assert shown.returncode == 0, shown.stderr
    assert shown.stderr == ""
    lines = shown.stdout.splitlines()
    assert [line.split(": ")[1][0] for line in lines] == [str(label) for label in digits.labels[:2]]
    as_json = run("predict", files[0], "--json", "--top-k", "2", home=tmp_path / "home")
    answer = json.loads(as_json.stdout)
    assert answer["label"] == str(digits.labels[0])
    assert len(answer["probabilities"]) == 2


def test_predict_names_the_images_that_it_cannot_read_and_reads_the_others(tmp_path: Path, digits: Dataset) -> None:
    (tmp_path / "good.png").write_bytes(png(digits.images[0]))
    (tmp_path / "bad.png").write_bytes(b"text")
    files = [str(tmp_path / name) for name in ("bad.png", "missing.png", "good.png")]
    failed = run("predict", *files, home=tmp_path / "home")
    assert failed.returncode == 1
    assert "good.png" in failed.stdout
    assert "bad.png: unsupported image format" in failed.stderr
    assert "missing.png: No such file" in failed.stderr
    assert "Traceback" not in failed.stderr


@pytest.mark.slow
def test_train_publishes_and_models_lists_promotes_and_rolls_back(tmp_path: Path) -> None:
    home = tmp_path / "home"
    trained = run("train", "--set", "epochs=2", "--set", "layers=784,16,10", home=home)
    assert trained.returncode == 0, trained.stderr
    assert "epoch 2/2" in trained.stdout
    assert "published mnist version 2" in trained.stdout
    assert "not promoted: " in trained.stdout
    promoted = run("models", "promote", "mnist", "2", home=home)
    assert "production is version 2 (generation 2)" in promoted.stdout
    listed = run("models", "list", home=home)
    assert "784-16-10" in listed.stdout
    rolled = run("models", "rollback", "mnist", home=home)
    assert "production is version 1 (generation 3)" in rolled.stdout
    tried = run("models", "try", "mnist", "2", "--mode", "canary", "--share", "0.1", home=home)
    assert "version 2 is its canary on 10% of the requests" in tried.stdout
    assert "mnist: would delete nothing" in run("models", "collect", "--dry-run", "--keep", "1", home=home).stdout
    manifest = json.loads(run("models", "show", "mnist", "2", home=home).stdout)
    assert manifest["recipe"] == "starter"
    always = run("train", "--set", "epochs=1", "--promote", "always", home=home)
    assert "promoted: promoted without comparison" in always.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["train", "--recipe", "nothing"], 2, "unknown recipe"),
        (["train", "--set", "epochs=0"], 2, "epochs must be"),
        (["train", "--promote", "perhaps"], 2, "always, if_better"),
        (["train", "--dataset", "/nowhere"], 2, "no data set"),
        (["models", "promote", "mnist", "99"], 1, "no version 99"),
        (["models", "rollback", "mnist"], 1, "no earlier version"),
        (["models", "try", "mnist", "1"], 2, "another version"),
        (["models", "try", "mnist", "2", "--mode", "canary"], 2, "needs the share"),
        (["models", "show", "../x", "1"], 2, "lower-case"),
        (["predict", "x.png", "--version", "7"], 1, "no version 7"),
        (["serve", "--host", "0.0.0.0"], 2, "--insecure"),
        (["serve", "--port", "99999"], 2, "GLYPHSERVE_PORT"),
        (["nonsense"], 2, "nonsense"),
    ],
)
def test_what_cannot_work_ends_with_one_line_and_a_code(
    arguments: list[str], code: int, says: str, tmp_path: Path
) -> None:
    failed = run(*arguments, home=tmp_path / "home")
    assert failed.returncode == code, failed.stderr
    assert says in failed.stderr
    assert "Traceback" not in failed.stderr


def test_help_teaches_with_examples(tmp_path: Path) -> None:
    assert "glyphserve serve" in run("--help", home=tmp_path).stdout
    for command in ("serve", "predict", "train"):
        shown = subprocess.run(
            [*COMMAND, command, "--help"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert f"Example: glyphserve {command}" in shown.stdout


def test_a_port_in_use_is_a_clear_error(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        failed = run("serve", "--no-worker", "--port", str(taken.getsockname()[1]), home=tmp_path)
    assert failed.returncode == 1
    assert "address already in use" in failed.stderr.lower()
    assert "Traceback" not in failed.stderr


@pytest.mark.slow
def test_jobs_are_listed_shown_watched_and_cancelled(server: Server) -> None:
    job = server.submit(settings={"epochs": 5, "layers": [784, 16, 10]}, promote="never")["id"]
    watched = run("jobs", "watch", job, home=server.home)
    assert watched.returncode == 0, watched.stderr
    assert [line.split()[1] for line in watched.stdout.splitlines()[:5]] == [f"{n}/5" for n in range(1, 6)]
    assert f"{job} succeeded: version 2" in watched.stdout
    assert job in run("jobs", "list", home=server.home).stdout
    assert json.loads(run("jobs", "show", job, home=server.home).stdout)["version"] == 2
    endless = server.submit(settings=ENDLESS)["id"]
    assert f"{endless} is cancelled" in run("jobs", "cancel", endless, home=server.home).stdout
    ended = run("jobs", "watch", endless, home=server.home)
    assert (ended.returncode, "Traceback" in ended.stderr) == (1, False)
    assert run("jobs", "cancel", job, home=server.home).returncode == 1
    assert "no job of that id" in run("jobs", "watch", "job-0", home=server.home).stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_training_in_the_foreground_is_interrupted_without_a_trace(tmp_path: Path, number: signal.Signals) -> None:
    command = [*COMMAND, "train", "--set", "epochs=100000", "--set", "layers=784,16,10"]
    with subprocess.Popen(
        [*command, "--home", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    ) as training:
        assert training.stdout is not None
        assert any(line.startswith("epoch 1/") for line in training.stdout)
        (child,) = trainers_of(training.pid)
        # Ctrl-C reaches all processes of the terminal, SIGTERM the one that it is sent to.
        if number is signal.SIGINT:
            os.killpg(training.pid, number)
        else:
            training.send_signal(number)
        _, errors = training.communicate(timeout=60)
        assert training.returncode == 130
    assert errors == "interrupted; nothing was published\n"
    assert not Path(f"/proc/{child}").exists()
    assert list((tmp_path / "scratch").iterdir()) == []
    assert json.loads(run("predict", "--json", str(digit(tmp_path)), home=tmp_path).stdout)["version"] == 1


def on_a_terminal(*arguments: str) -> str:
    """Run the command on a terminal of 160 columns and answer all that it drew."""
    ours, theirs = pty.openpty()
    command = [*COMMAND, *arguments]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "160"}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # what Linux says when the other side of a terminal is closed
            while part := os.read(ours, 4096):
                shown += part
    os.close(ours)
    assert process.returncode == 0
    return shown.decode()


def test_on_a_terminal_training_shows_a_bar(tmp_path: Path) -> None:
    changes = ["--set", "epochs=3", "--set", "layers=784,16,10"]
    shown = on_a_terminal("train", *changes, "--home", str(tmp_path))
    assert "3/3" in shown
    assert "━" in shown
    assert "published mnist version 2" in shown


def digit(folder: Path) -> Path:
    path = folder / "digit.png"
    path.write_bytes(png(load_dataset("starter").train.images[0]))
    return path


@pytest.mark.slow
def test_samples_are_added_listed_exported_and_deleted(tmp_path: Path, digits: Dataset) -> None:
    home, files = tmp_path / "home", [str(tmp_path / f"{number}.png") for number in range(3)]
    for number, file in enumerate(files):
        Path(file).write_bytes(png(digits.images[number]))
    assert run("samples", "add", "7", *files[:2], home=home).stdout == "2 new, 0 known already, 0 failed\n"
    (tmp_path / "bad.png").write_bytes(b"text")
    mixed = run("samples", "add", "7", *files, str(tmp_path / "bad.png"), home=home)
    assert (mixed.returncode, mixed.stdout) == (1, "1 new, 2 known already, 1 failed\n")
    assert "bad.png: unsupported image format" in mixed.stderr
    assert "it knows 0, 1, 2" in run("samples", "add", "x", files[0], home=home).stderr
    assert run("samples", "list", home=home).stdout.startswith("3 samples (7: 3)")
    exported = run("samples", "export", str(tmp_path / "folder"), home=home)
    assert exported.stdout.startswith("3 samples in ")
    read = load_dataset(str(tmp_path / "folder")).train
    assert read.classes == ("7",)
    assert {image.tobytes() for image in read.images} == {image.tobytes() for image in digits.images[:3]}
    assert run("samples", "export", str(tmp_path / "folder"), home=home).stderr.startswith("error: the folder is not")
    assert run("samples", "delete", home=home).returncode == 2
    assert run("samples", "delete", "--label", "7", home=home).stdout == "3 samples deleted\n"


def test_jobs_can_be_listed_before_any_worker_has_made_the_tables(tmp_path: Path) -> None:
    listed = run("jobs", "list", home=tmp_path / "home")
    assert (listed.returncode, listed.stderr) == (0, "")
    assert "state" in listed.stdout


@pytest.mark.slow
def test_jobs_of_a_worker_that_is_gone_are_recovered_by_hand(tmp_path: Path) -> None:
    with queue_of(tmp_path) as jobs:
        with running_worker(tmp_path) as worker:
            job_id = submit(jobs, ENDLESS)
            wait_for_epochs(jobs, job_id)
            worker.kill()
        recovered = run("jobs", "recover", "--worker", "worker-0", home=tmp_path)
        assert recovered.stdout == f"requeued {job_id} of worker-0\n"
        assert jobs.get(job_id).state == "queued"
        assert run("jobs", "recover", home=tmp_path).stdout == "no job belongs to a dead worker\n"


@pytest.mark.slow
def test_listening_tells_a_worker_that_is_gone_from_one_that_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLYPHSERVE_TAKEOVER_SECONDS", "6")
    with queue_of(tmp_path) as jobs, running_worker(tmp_path):
        job_id = submit(jobs, ENDLESS)
        wait_for_epochs(jobs, job_id)
        recovered = run("jobs", "recover", home=tmp_path)
        assert recovered.stdout == "waiting 2 s for heartbeats\nno job belongs to a dead worker\n"
        assert jobs.cancel(job_id).state == "cancelled"


@pytest.mark.slow
def test_on_a_terminal_a_job_is_watched_by_a_bar(server: Server) -> None:
    settings = {"epochs": 5, "layers": [784, 256, 256, 10], "batch_size": 2}  # still learning once the bar is there
    job = server.submit(settings=settings, promote="never")["id"]
    shown = on_a_terminal("jobs", "watch", job, "--home", str(server.home))
    assert "5/5" in shown
    assert "images/s" in shown
    assert "left" in shown
    assert "━" in shown
    assert f"{job} succeeded" in shown

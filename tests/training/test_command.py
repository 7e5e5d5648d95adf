"""`python -m training` as a real process."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from training import load

QUICK = ["--set", "epochs=2", "--set", "layers=784,32,10"]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "training", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_fit_saves_a_network_that_evaluate_can_judge(tmp_path: Path) -> None:
    fitted = run("fit", *QUICK, "--out", str(tmp_path))
    assert fitted.returncode == 0, fitted.stderr
    assert "epoch 2/2" in fitted.stdout
    assert "1,000 validation examples" in fitted.stdout
    judged = run("evaluate", str(tmp_path / "weights.npz"), "--data", "starter", "--json")
    assert judged.returncode == 0, judged.stderr
    assert json.loads(judged.stdout)["accuracy"] > 0.8
    table = run("evaluate", str(tmp_path / "weights.npz"), "--data", "starter")
    assert "precision" in table.stdout


def test_json_lines_tell_the_start_every_epoch_and_the_end(tmp_path: Path) -> None:
    fitted = run("fit", *QUICK, "--progress", "jsonl", "--seed", "7", "--out", str(tmp_path))
    events = [json.loads(line) for line in fitted.stdout.splitlines()]
    events = [event for event in events if event["event"] != "progress"]  # of a slow machine
    assert [event["event"] for event in events] == ["start", "epoch", "epoch", "finished"]
    assert [event["epoch"] for event in events[1:3]] == [1, 2]
    assert Path(events[-1]["weights"]).is_file()
    assert json.loads(Path(events[-1]["manifest"]).read_text())["seed"] == 7
    assert fitted.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--recipe", "nothing"], 2, "unknown recipe"),
        (["--set", "epochs=0"], 2, "epochs must be"),
        (["--set", "epochs"], 2, "NAME=VALUE"),
        (["--settings", "{"], 2, "not JSON"),
        (["--settings", "[]"], 2, "JSON object"),
        (["--data", "/nowhere"], 2, "no data set"),
        (["--progress", "loud"], 2, "--progress"),
        (["--set", "learning_rate=1000", "--set", "optimizer=sgd", "--set", "activation=linear"], 1, "diverged"),
    ],
)
def test_what_cannot_work_ends_with_a_reason_and_a_code(
    arguments: list[str], code: int, says: str, tmp_path: Path
) -> None:
    failed = run("fit", *arguments, "--out", str(tmp_path))
    assert failed.returncode == code
    assert says in failed.stderr
    assert "Traceback" not in failed.stderr
    assert not list(tmp_path.iterdir())


def test_a_failure_is_an_event_for_programs(tmp_path: Path) -> None:
    failed = run("fit", "--settings", '{"epochs": -1}', "--progress", "jsonl", "--out", str(tmp_path))
    event = json.loads(failed.stdout)
    assert failed.returncode == 2
    assert (event["event"], event["field"]) == ("failed", "epochs")


@pytest.mark.parametrize("way", ["terminate", "interrupt", "close"])
def test_a_run_ends_at_once_when_told_to_or_when_its_starter_is_gone(way: str, tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "training", "fit", "--set", "epochs=100000", "--progress", "jsonl"]
    with subprocess.Popen(
        [*command, "--stop-when-stdin-closes", "--out", str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert b"start" in process.stdout.readline()
        assert b"epoch" in process.stdout.readline()  # of the epoch, or within it
        if way == "close":
            process.stdin.close()
        else:
            process.send_signal(signal.SIGTERM if way == "terminate" else signal.SIGINT)
        process.stdout.read()
        assert process.wait(timeout=60) == 130


def test_a_run_that_cannot_end_by_itself_does_not_outlive_its_starter(tmp_path: Path) -> None:
    held = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])"
    command = f"{held}; from training import __main__ as command; command._LAST_SECONDS = 0.1; command.main()"
    arguments = ["fit", "--set", "epochs=100000", "--stop-when-stdin-closes", "--out", str(tmp_path)]
    with subprocess.Popen([sys.executable, "-c", command, *arguments], stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=60) == -signal.SIGKILL


def test_recipes_are_listed() -> None:
    assert "starter" in run("recipes").stdout


def test_an_interrupted_run_keeps_its_weights_and_a_resumed_one_goes_on(tmp_path: Path) -> None:
    command = [sys.executable, "-P", "-m", "training", "fit", "--set", "epochs=100000", "--set", "schedule=constant"]
    command += ["--set", "keep_best=true", "--resume", "--progress", "jsonl", "--out", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        epochs = 0
        while epochs < 3:  # on a slow machine there are lines within an epoch, too
            epochs += json.loads(process.stdout.readline())["event"] == "epoch"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert b"interrupted; the best weights so far" in process.stderr.read()
    done = json.loads((tmp_path / "manifest.json").read_text())["metrics"]["epochs"]
    assert done >= 3
    more = ["fit", "--set", f"epochs={done + 2}", "--set", "schedule=constant", "--set", "keep_best=true", "--resume"]
    resumed = run(*more, "--progress", "jsonl", "--out", str(tmp_path))
    events = [json.loads(line) for line in resumed.stdout.splitlines()]
    # The interrupt may fall between an epoch and its checkpoint: that epoch is then learned again.
    assert [event["epoch"] for event in events if event["event"] == "epoch"][-2:] == [done + 1, done + 2]
    assert len([event for event in events if event["event"] == "epoch"]) <= 3


def test_a_run_interrupted_in_its_first_epoch_says_that_nothing_was_kept(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-P",
        "-m",
        "training",
        "fit",
        "--set",
        "layers=784,2048,2048,10",
        "--set",
        "data=starter",
    ]
    command += ["--set", "steps_per_epoch=1000000", "--set", "replacement=true", "--progress", "jsonl"]
    with subprocess.Popen(
        [*command, "--out", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["event"] == "start"
        assert json.loads(process.stdout.readline())["event"] == "progress"
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
        assert process.stderr.read() == b"interrupted in the first epoch: nothing was kept\n"
    assert not list(tmp_path.iterdir())


def test_gradcheck_says_that_backpropagation_is_right() -> None:
    for recipe in ("starter", "coursera", "raschka"):
        checked = run("gradcheck", "--recipe", recipe)
        assert checked.returncode == 0, checked.stderr
        assert checked.stdout.endswith("right\n")


def test_search_ranks_and_goes_on(tmp_path: Path) -> None:
    arguments = ["search", "--space", '{"learning_rate": [0.003, 0.0001]}', "--results", str(tmp_path / "r.jsonl")]
    arguments += ["--set", "epochs=1", "--set", "layers=784,8,10"]
    first, again = run(*arguments), run(*arguments)
    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    assert first.stdout.splitlines()[1].split()[-1] == "0.003"


def test_export_writes_onnx_and_npz(tmp_path: Path) -> None:
    weights = str(Path(__file__).parents[2] / "models" / "mnist" / "1" / "weights.npz")
    again, once_more = tmp_path / "again.npz", tmp_path / "once-more.npz"
    assert run("export", weights, str(again)).returncode == 0
    assert run("export", str(again), str(once_more)).returncode == 0
    assert once_more.read_bytes() == again.read_bytes()
    arrays, written = load(weights).state_dict(), load(again).state_dict()
    assert all(np.array_equal(array, written[name]) for name, array in arrays.items())
    refused = run("export", weights, str(tmp_path / "model.pdf"))
    assert refused.returncode == 2
    assert "must end in .onnx or .npz" in refused.stderr


def test_reproduce_prints_its_table_and_fails_when_a_figure_is_missed(tmp_path: Path) -> None:
    done = run("reproduce", "coursera_binary", "--seeds", "1", "--out", str(tmp_path / "table.md"))
    assert done.returncode == 0, done.stderr
    assert "| `coursera_binary` | at least 99.5 % |" in done.stdout
    assert (tmp_path / "table.md").read_text() == done.stdout

"""The prose linter: which text it extracts, and how it counts."""

import subprocess
import sys
from pathlib import Path

import pytest

LINTER = Path(__file__).parents[1] / ".ci" / "prose.py"
RULES = """
strict = ["new.md"]
exclude = []
[phrases]
"of which" = { instead = "a relative clause", remaining = 1 }
"room" = { instead = "space", not_after = ["living"], not_before = ["service"] }
[proselint]
"""


def lint(folder: Path, files: dict[str, str], *options: str) -> tuple[int, list[str]]:
    """Lint a project of the given files; return the exit code and the problems."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    if not (folder / "rules.toml").exists():
        (folder / "rules.toml").write_text(RULES)
    command = [sys.executable, str(LINTER), "--root", str(folder), "--rules", str(folder / "rules.toml"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not done.stderr
    return done.returncode, [line for line in done.stdout.splitlines() if "“" in line]


def test_a_phrase_is_found_in_each_kind_of_prose(tmp_path: Path) -> None:
    files = {
        "README.md": "# Title\n\nA large\nroom.\n",
        "docs/page.md": "no room\n",
        "service/code.py": '"""Room."""\n\nwords = "takes more room here"\n# a\n# room\n',
        "service/page/index.html": "<p>\n<b>Room</b></p><img alt='a room'>",
        "service/page/script.js": 'let words = "takes more room here";\n// there is no room',
    }
    code, problems = lint(tmp_path, files)
    assert code == 1
    assert sorted(problem.partition(" “")[0] for problem in problems) == [
        "README.md:4:",
        "docs/page.md:1:",
        "service/code.py:3:",
        "service/code.py:5:",
        "service/page/index.html:2:",
        "service/page/index.html:2:",
        "service/page/script.js:1:",
        "service/page/script.js:2:",
    ]
    assert all(problem.endswith("write: space") for problem in problems)


@pytest.mark.parametrize(
    "text",
    [
        "```sh\nroom\n```\n",
        "Call `room`.",
        "[a link](room.md)",
        "<!-- room -->",
        "chat-room, rooms, mushroom, room.py",
        "a living room",
        "room service",
    ],
)
def test_code_addresses_and_other_words_are_no_findings(tmp_path: Path, text: str) -> None:
    assert lint(tmp_path, {"README.md": text}) == (0, [])


def test_older_uses_are_allowed_up_to_their_number_and_not_in_strict_files(tmp_path: Path) -> None:
    assert lint(tmp_path, {"old.md": "one, of\nwhich"}) == (0, [])
    code, problems = lint(tmp_path, {"other.md": "two of which"})
    assert code == 1
    assert problems == ["“of which”: 2 uses, 1 allowed (--list shows them); write: a relative clause"]
    command = [sys.executable, str(LINTER), "--root", str(tmp_path), "--rules", str(tmp_path / "rules.toml")]
    shown = subprocess.run([*command, "--list", "of which"], capture_output=True, text=True, check=True).stdout
    assert shown.splitlines() == ["old.md:1: of which", "other.md:1: of which"]
    (tmp_path / "other.md").unlink()
    (tmp_path / "old.md").unlink()
    assert lint(tmp_path, {"new.md": "one of which"})[0] == 1


def test_counts_are_lowered_and_never_raised(tmp_path: Path) -> None:
    lint(tmp_path, {"old.md": "two of which of which"}, "--tighten")
    assert "remaining = 1" in (tmp_path / "rules.toml").read_text()
    lint(tmp_path, {"old.md": "none"}, "--tighten")
    assert "remaining" not in (tmp_path / "rules.toml").read_text()
    assert lint(tmp_path, {"old.md": "one of which"})[0] == 1

"""The fenced code blocks of README and docs, with the comments that say how they are tested.

A comment right above a block changes how it is run:

- `<!-- not run: REASON -->`: it is not run.
- `<!-- file: NAME -->`: it is written to this file instead; later blocks of the tour import it.
- `<!-- output -->`: it is what the block above prints.
- `<!-- setup: COMMAND -->`: this shell command runs first. It may be repeated.
- `<!-- server: NAME=VALUE … -->`: a server with these environment variables is started first.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(path for path in DOCS.rglob("*.md"))]

_PART = re.compile(
    r"^<!-- (?P<directive>not run|file|output|setup|server)(?:: (?P<text>.*?))? -->$"
    r"|^```(?P<language>\w*)\n(?P<code>.*?)^```$"
    r"|^(?P<other>\S.*)$",
    re.MULTILINE | re.DOTALL,
)


@dataclass
class Block:
    """One fenced block and the comments above it."""

    page: Path
    line: int
    language: str
    code: str
    directives: dict[str, str] = field(default_factory=dict)
    setup: list[str] = field(default_factory=list)

    @property
    def where(self) -> str:
        """The page and line, for messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page in order."""
    text = page.read_text()
    directives: dict[str, str] = {}
    setup: list[str] = []
    for line in _joined(text):
        number, part = line
        found = _PART.match(part)
        if not found:
            continue
        if found["directive"] == "setup":
            setup.append(found["text"])
        elif found["directive"]:
            directives[found["directive"]] = found["text"] or ""
        elif found["code"] is not None:
            yield Block(page, number, found["language"], found["code"], directives, setup)
            directives, setup = {}, []
        else:
            directives, setup = {}, []


def _joined(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line number, text) of each line outside fences, and of each fenced block as a whole."""
    fence: list[str] = []
    start = 0
    for number, line in enumerate(text.splitlines(), 1):
        if fence:
            fence.append(line)
            if line == "```":
                yield start, "\n".join(fence)
                fence = []
        elif line.startswith("```"):
            fence, start = [line], number
        else:
            yield number, line


BLOCKS = {page: list(blocks_of(page)) for page in PAGES}

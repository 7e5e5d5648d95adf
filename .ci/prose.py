"""Lint the English of documents, docstrings, comments, messages and the page.

Two sets of rules apply. `.ci/prose.toml` lists words and phrases to avoid, each with a replacement. If proselint is
installed, the checks that the same file selects run, too.

    python .ci/prose.py             # list what is wrong; exit with 1 if there is anything
    python .ci/prose.py --list told # list all uses of one phrase
    python .ci/prose.py --tighten   # lower the `remaining` counts to what the text has now
"""

import argparse
import ast
import io
import re
import sys
import tokenize
import tomllib
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple

RULES = Path(__file__).with_name("prose.toml")
PYTHON = ("service", "training", "examples")
DOCUMENTS = ("*.md", "docs/**/*.md")


class Passage(NamedTuple):
    """A piece of prose and the line of its file at which it starts."""

    line: int
    text: str


class Rule(NamedTuple):
    """A word or phrase to avoid, what to write instead, and how many uses older text still has."""

    phrase: str
    instead: str
    remaining: int
    pattern: re.Pattern[str]


class Finding(NamedTuple):
    """A use of a phrase that a rule names."""

    path: Path
    line: int
    rule: Rule
    text: str


def main(arguments: list[str] | None = None) -> int:
    """Lint the project below --root; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=RULES.parents[1], help="folder of the project")
    parser.add_argument("--rules", type=Path, default=RULES, help="file with the rules")
    parser.add_argument("--tighten", action="store_true", help="lower the remaining counts to the present ones")
    parser.add_argument("--list", metavar="PHRASE", help="list all uses of a phrase")
    options = parser.parse_args(arguments)
    settings = tomllib.loads(options.rules.read_text())
    rules = read_rules(settings)
    texts = {path: list(passages(options.root / path)) for path in sources(options.root, settings["exclude"])}
    findings = [finding for path, found in texts.items() for finding in search(path, found, rules)]
    if options.list:
        for finding in findings:
            if finding.rule.phrase == options.list:
                sys.stdout.write(f"{finding.path}:{finding.line}: {finding.text}\n")
        return 0
    if options.tighten:
        tighten(options.rules, Counter(finding.rule.phrase for finding in findings))
        return 0
    problems = [*own_problems(findings, settings["strict"]), *proselint_problems(texts, settings["proselint"])]
    for problem in problems:
        sys.stdout.write(f"{problem}\n")
    remaining = sum(rule.remaining for rule in rules)
    sys.stdout.write(f"prose: {len(texts)} files, {len(problems)} problems, {remaining} older uses still allowed\n")
    return bool(problems)


def read_rules(settings: dict[str, dict[str, dict[str, object]]]) -> list[Rule]:
    """Compile the table `phrases`: a phrase may be broken across lines, and is matched as whole words in any case."""
    rules = []
    for phrase, entry in settings["phrases"].items():
        words = r"\s+".join(re.escape(word) for word in phrase.split())
        before = "".join(rf"(?<!{re.escape(text)} )" for text in as_list(entry.get("not_after")))
        after = "".join(rf"(?!\s+{re.escape(text)})" for text in as_list(entry.get("not_before")))
        pattern = re.compile(rf"{before}(?<![\w/.-]){words}(?![\w/-]|\.\w){after}", re.IGNORECASE)
        rules.append(Rule(phrase, str(entry["instead"]), int(str(entry.get("remaining", 0))), pattern))
    return rules


def as_list(value: object) -> list[str]:
    """Return a list of strings for a list or nothing."""
    return [str(part) for part in value] if isinstance(value, list) else []


def sources(root: Path, exclude: list[str]) -> list[Path]:
    """List the files to lint, relative to the root."""
    found = [path for pattern in DOCUMENTS for path in root.glob(pattern)]
    found += [path for folder in PYTHON for end in ("py", "js", "html") for path in (root / folder).rglob(f"*.{end}")]
    relative = sorted(path.relative_to(root) for path in found)
    return [path for path in relative if not any(path.match(pattern) for pattern in exclude)]


def passages(path: Path) -> Iterator[Passage]:
    """Extract the prose of a file."""
    text = path.read_text()
    readers = {".md": markdown_prose, ".py": python_prose, ".js": script_prose, ".html": page_prose}
    yield from readers[path.suffix](text)


def markdown_prose(text: str) -> Iterator[Passage]:
    """Yield the paragraphs of a Markdown document without code, addresses and HTML comments."""

    def blank(match: re.Match[str]) -> str:
        return "\n" * match[0].count("\n")

    def code(match: re.Match[str]) -> str:
        return "x" + "\n" * match[0].count("\n")

    text = re.sub(r"^( *)(```+|~~~+).*?^\1\2 *$", blank, text, flags=re.M | re.S)
    text = re.sub(r"<!-- generated: .*?<!-- end -->", blank, text, flags=re.S)  # linted where it comes from
    text = re.sub(r"<!--.*?-->", blank, text, flags=re.S)
    text = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", code, text, flags=re.S)
    text = re.sub(r"\]\([^)]*\)|^\[[^]]+\]: .*$|<?https?://\S+", "", text, flags=re.M)
    for match in re.finditer(r"[^\n]+(?:\n[^\n]+)*", text):
        yield Passage(text.count("\n", 0, match.start()) + 1, match[0])


def python_prose(text: str) -> Iterator[Passage]:
    """Yield the comments, the docstrings and the messages: string constants of three words or more."""
    comments: list[Passage] = []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT and not re.match(r"#\s*(noqa|type:|ruff:|pragma)", token.string):
            line, words = token.start[0], token.string.lstrip("#! ")
            if comments and comments[-1].line + comments[-1].text.count("\n") + 1 == line:
                comments[-1] = Passage(comments[-1].line, f"{comments[-1].text}\n{words}")
            else:
                comments.append(Passage(line, words))
    yield from comments
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value.split()) >= 3:
            yield Passage(node.lineno, re.sub(r"`[^`\n]+`", "x", node.value))


def script_prose(text: str) -> Iterator[Passage]:
    """Yield the comments and the messages of a script."""
    pattern = r"//(?P<comment>[^\n]*)|/\*(?P<block>.*?)\*/|\"(?P<text>[^\"\n]*)\"|`(?P<template>[^`]*)`"
    for match in re.finditer(pattern, text, re.S):
        words = "".join(match.groups(""))
        if len(words.split()) >= 3:
            yield Passage(text.count("\n", 0, match.start()) + 1, re.sub(r"\$\{[^}]*\}", "x", words))


def page_prose(text: str) -> Iterator[Passage]:
    """Yield the texts of an HTML page and its visible attributes."""
    found: list[Passage] = []

    class Reader(HTMLParser):
        def handle_data(self, data: str) -> None:
            if data.strip():
                found.append(Passage(self.getpos()[0], data))

        def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend(
                Passage(self.getpos()[0], value)
                for name, value in attrs
                if value and name in {"alt", "aria-label", "placeholder", "title"}
            )

    Reader().feed(text)
    yield from found


def search(path: Path, found: list[Passage], rules: list[Rule]) -> Iterator[Finding]:
    """Yield each use of a phrase of the rules."""
    for passage in found:
        for rule in rules:
            for match in rule.pattern.finditer(passage.text):
                line = passage.line + passage.text.count("\n", 0, match.start())
                yield Finding(path, line, rule, " ".join(match[0].split()))


def own_problems(findings: list[Finding], strict: list[str]) -> Iterator[str]:
    """Report uses of forbidden phrases, all uses in strict files, and phrases with more uses than remain allowed."""
    counts = Counter(finding.rule.phrase for finding in findings)
    for finding in findings:
        rule = finding.rule
        if not rule.remaining or any(finding.path.match(pattern) for pattern in strict):
            yield f"{finding.path}:{finding.line}: “{finding.text}”; write: {rule.instead}"
    for rule in {finding.rule for finding in findings}:
        if counts[rule.phrase] > rule.remaining > 0:
            used = f"{counts[rule.phrase]} uses, {rule.remaining} allowed"
            yield f"“{rule.phrase}”: {used} (--list shows them); write: {rule.instead}"


def proselint_problems(texts: dict[Path, list[Passage]], checks: dict[str, int]) -> Iterator[str]:
    """Report what the selected checks of proselint find, if a check finds more than remains allowed."""
    try:
        from proselint.checks import __register__
        from proselint.registry import CheckRegistry
        from proselint.tools import LintFile
    except ImportError:
        sys.stdout.write("proselint is not installed: only the rules of the project were checked\n")
        return
    CheckRegistry().register_many(__register__)
    found: dict[str, list[str]] = {check: [] for check in checks}
    for path, parts in texts.items():
        lines = [part.line + offset for part in parts for offset in range(part.text.count("\n") + 2)]
        text = "\n\n".join(part.text for part in parts)
        if text:
            for result in LintFile(str(path), text).lint({"max_errors": 1000, "checks": dict.fromkeys(checks, True)}):
                name, message, *_ = result.check_result
                line = lines[max(0, min(result.pos[0] - 1, len(lines) - 1))]
                check = next(check for check in checks if f"{name}.".startswith(f"{check}."))
                found[check].append(f"{path}:{line}: {message} [{name}]")
    for check, remaining in checks.items():
        if len(found[check]) > remaining:
            yield from found[check]


def tighten(file: Path, counts: Counter[str]) -> None:
    """Lower each `remaining` count to the number of uses; remove it where there are none."""

    def lower(match: re.Match[str]) -> str:
        left = min(int(match["remaining"]), counts[match["phrase"]])
        return match["start"] + (f", remaining = {left}" if left else "") + " }"

    pattern = r'(?P<start>^"(?P<phrase>[^"]+)" = \{.*?), remaining = (?P<remaining>\d+) \}'
    file.write_text(re.sub(pattern, lower, file.read_text(), flags=re.M))


if __name__ == "__main__":
    sys.exit(main())

"""The tables of the documentation that are generated from the code.

`python -m tests.documentation.generated` rewrites them; `test_reference.py` compares them with the pages.
"""

import ast
import inspect
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import typer.main

import training
from service.api.app import create_app
from service.observability.metric_definitions import FAMILIES
from service.schemas import attribute_docstrings
from service.settings import Settings
from tests.documentation.blocks import PAGES, ROOT

_MARKED = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_SCOPE = re.compile(r"If API keys exist, requires the scope `(\w+)`\.?")
_METHODS = ("get", "post", "put", "delete")


def settings() -> str:
    """Return a row for each setting."""
    explained = attribute_docstrings(Settings)
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "" if field.default_factory or field.default is None else f"`{field.default}`"
        if name == "home":
            default = "`~/.local/share/glyphserve`"
        rows.append(f"| `{name.upper()}` | {default} | {_cell(explained[name])} |")
    return "\n".join(rows)


def metrics() -> str:
    """Return a row for each metric."""
    rows = ["| metric | kind | labels | meaning |", "|---|---|---|---|"]
    for family in FAMILIES:
        name = f"{family.name}_total" if family.kind == "counter" else family.name
        rows.append(f"| `{name}` | {family.kind} | {', '.join(family.labels)} | {_cell(family.help)} |")
    return "\n".join(rows)


def endpoints() -> str:
    """Return a row for each operation of the API, with the scope of the key that it needs."""
    rows = ["| method | path | scope | what it does |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as folder:
        described = create_app(Settings(home=Path(folder))).openapi()
    for path, operations in described["paths"].items():
        for method in _METHODS:
            if operation := operations.get(method):
                text = operation.get("description", "")
                scope = _SCOPE.search(text)
                first = _SCOPE.sub("", text).strip().partition("\n\n")[0]
                needs = scope[1] if scope else "public"
                rows.append(f"| `{method.upper()}` | `{path}` | {needs} | {_cell(first)} |")
    return "\n".join(rows)


def commands() -> str:
    """Return a section for each command, with its arguments and options."""
    from service.cli import app as service_app
    from training.__main__ import app as training_app

    sections = []
    for name, app in (("glyphserve", service_app), ("python -P -m training", training_app)):
        for path, command in _commands(name, typer.main.get_command(app)):
            sections.append(_command(path, command))
    return "\n\n".join(sections)


def _commands(path: str, command: Any) -> Iterator[tuple[str, Any]]:
    if command.hidden:
        return
    members = getattr(command, "commands", None)
    if members is None:
        yield path, command
    else:
        for name in sorted(members):
            yield from _commands(f"{path} {name}", members[name])


def _command(path: str, command: Any) -> str:
    lines = [f"### `{path}`", "", _cell(inspect.cleandoc(command.help or "").partition("\n\n")[0])]
    rows = []
    for parameter in command.params:
        names = getattr(parameter, "opts", [])
        if getattr(parameter, "hidden", False) or "--help" in names:
            continue
        if parameter.param_type_name == "argument":
            shown = parameter.metavar or (parameter.name or "").upper()
        else:
            shown = ", ".join(names)
        rows.append(f"| `{shown}` | {_cell(getattr(parameter, 'help', None) or '')} |")
    if rows:
        lines += ["", "| argument or option | meaning |", "|---|---|", *rows]
    return "\n".join(lines)


def library() -> str:
    """Return a row for each public name of `training`."""
    rows = ["| name | what it is |", "|---|---|"]
    for name in training.__all__:
        first = (inspect.getdoc(getattr(training, name)) or "").partition("\n\n")[0]
        rows.append(f"| `{name}` | {_cell(first)} |")
    return "\n".join(rows)


def tree() -> str:
    """Return a row for each package, with the first sentence of its docstring."""
    rows = ["| package | contents |", "|---|---|"]
    for package in ("training", "service"):
        for folder in sorted({path.parent for path in (ROOT / package).rglob("*.py")}):
            text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
            rows.append(f"| `{folder.relative_to(ROOT)}` | {_cell(text.partition(chr(10) * 2)[0])} |")
    rows += [f"| `{name}` | {text} |" for name, text in _OTHERS.items() if (ROOT / name).exists()]
    return "\n".join(rows)


_OTHERS = {
    "service/page": "The page: HTML, JavaScript and CSS, served as they are.",
    "models": "Released networks with their manifests and cards.",
    "examples": "Programs that use the library.",
    "tests": "Tests, by package; `tests/documentation` runs the examples of these pages.",
    "benchmarks": "Measurements.",
    "docs": "This documentation.",
    "deploy": "Kubernetes, nginx, Prometheus, Grafana, a rolling upgrade.",
}


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


GENERATORS: dict[str, Callable[[], str]] = {
    "settings": settings,
    "metrics": metrics,
    "endpoints": endpoints,
    "commands": commands,
    "library": library,
    "tree": tree,
}


def generated(text: str) -> str:
    """Return a page with its generated parts made anew."""
    return _MARKED.sub(lambda found: f"{found[1]}{GENERATORS[found[2]]()}\n{found[3]}", text)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(generated(page.read_text()))

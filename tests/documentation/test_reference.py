"""The reference says what the code says, and the links of the documentation lead somewhere."""

import re
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from service import errors
from service.observability.metric_definitions import FAMILIES
from service.settings import Settings
from tests.documentation.blocks import DOCS, PAGES, ROOT
from tests.documentation.generated import GENERATORS, generated

_LINK = re.compile(r"\]\((?!https?:|mailto:|#)([^)#\s]+)?(?:#([^)\s]+))?\)")
_OWN_ANCHOR = re.compile(r"\]\(#([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"\bdocs/[\w./-]+\.md\b")
_FILE = re.compile(r"(?<![\w./-])(?:tests|benchmarks|deploy|training|service|examples|models)/[\w./-]+")
_MADE = ("deploy/secrets", "models/mine", "models/mnist/aliases", "models/mnist/versions")
"""Paths of examples, and addresses that look like paths."""
_TEXT = (".py", ".js", ".html", ".yml", ".yaml", ".toml", ".conf", ".md", ".cff", "")
_OTHER_VARIABLES = {
    "GLYPHSERVE_DATA_DIR",
    *(f"GLYPHSERVE_{name}" for name in ("CPUS", "IMAGE")),  # of the compose files
    *(f"GLYPHSERVE_{name}" for name in ("MOTO_SERVER", "SCHEMA_EXAMPLES", "TOUR_PICTURES", "CLIENTS_DIR")),  # of tests
}
README_WORDS = 1000


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MkDocs make them."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "<!-- generated: " in page.read_text()], ids=lambda p: p.stem
)
def test_generated_tables_say_what_the_code_says(page: Path) -> None:
    text = page.read_text()
    assert text == generated(text), "run python -m tests.documentation.generated"


def test_every_generator_is_used() -> None:
    used = {name for page in PAGES for name in re.findall(r"<!-- generated: (\w+) -->", page.read_text())}
    assert used >= set(GENERATORS)


def test_the_table_of_errors_has_each_status_and_code_once() -> None:
    table = (DOCS / "reference" / "errors.md").read_text()
    listed = re.findall(r"^\| (\d+) \| `(\w+)` \|", table, re.MULTILINE)
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ServiceError)]
    assert sorted(listed) == sorted((str(kind.status), kind.code) for kind in kinds)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= README_WORDS


@pytest.mark.parametrize("page", sorted({*PAGES, *ROOT.glob("*.md")}), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_pages_and_headings(page: Path) -> None:
    text = _FENCED.sub("", page.read_text())
    for target, anchor in _LINK.findall(text):
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name}: {target}"
        assert page.parent == ROOT or path.is_relative_to(DOCS), f"{page.name}: {target} is not part of the site"
        assert not anchor or anchor in anchors(path), f"{page.name}: {target}#{anchor}"
    for anchor in _OWN_ANCHOR.findall(text):
        assert anchor in anchors(page), f"{page.name}: #{anchor}"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in DOCS.rglob("*.md"):
        if page.parent.name != "decisions" or page.name == "index.md":
            assert str(page.relative_to(DOCS)) in navigation, page
    listed = (DOCS / "explanation" / "decisions" / "index.md").read_text()
    for page in (DOCS / "explanation" / "decisions").glob("0*.md"):
        assert f"({page.name})" in listed, page


def test_decisions_have_a_date_and_a_status() -> None:
    for page in (DOCS / "explanation" / "decisions").glob("0*.md"):
        text = page.read_text()
        assert re.search(r"^- \*\*Date\*\*: \d{4}-\d\d-\d\d$", text, re.MULTILINE), page
        assert re.search(r"^- \*\*Status\*\*: (accepted|superseded by .+)$", text, re.MULTILINE), page
        assert "## Refused" in text, page


def test_pages_that_the_code_names_exist() -> None:
    folders = ("service", "training", "examples", "tests", "benchmarks", "deploy", ".ci")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file()]
    files.remove(ROOT / "tests" / "test_prose.py")  # it writes documents for itself
    for path in files:
        if path.suffix in _TEXT and path.stat().st_size < 10**6:
            for named in _NAMED.findall(path.read_text(errors="replace")):
                assert (ROOT / named).exists(), f"{path.relative_to(ROOT)} names {named}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text()
    named = {found.rstrip(".") for found in _FILE.findall(text)}
    named |= {f"benchmarks/{module}.py" for module in re.findall(r"python -m benchmarks\.(\w+)", text)}
    assert [name for name in sorted(named) if not (ROOT / name).exists() and not name.startswith(_MADE)] == []


def test_settings_that_a_page_names_exist() -> None:
    known = {f"GLYPHSERVE_{name.upper()}" for name in Settings.model_fields} | _OTHER_VARIABLES
    for page in PAGES:
        named = {name.removesuffix("_FILE") for name in re.findall(r"GLYPHSERVE_[A-Z0-9_]*[A-Z0-9]", page.read_text())}
        assert named <= known, page


def test_metrics_that_a_page_names_exist() -> None:
    suffixes = ("", "_total", "_bucket", "_sum", "_count")
    known = {f"{family.name}{suffix}" for family in FAMILIES for suffix in suffixes}
    for page in PAGES:
        for line in page.read_text().splitlines():
            for name in re.findall(r"\bglyphserve_[a-z_]+[a-z]\b(?!\()", line):
                assert name in known, f"{page}: {name}"


def test_the_site_is_configured_strictly() -> None:
    configuration = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    assert configuration["strict"] is True
    assert configuration["theme"]["font"] is False  # nothing is loaded from elsewhere

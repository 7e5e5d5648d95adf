"""The table of metrics, the alerts and the dashboard name what there is."""

import json
import re
from pathlib import Path

import httpx
import pytest

from service.observability.exposition import exposition
from service.observability.metric_definitions import FAMILIES
from service.observability.metrics import Metrics

ROOT = Path(__file__).parents[2]
_SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
SAMPLES = {f"{family.name}{suffix}" for family in FAMILIES for suffix in _SUFFIXES[family.kind]}


def named_in(text: str) -> set[str]:
    return set(re.findall(r"glyphserve_[a-z_]+", text))


def test_the_documentation_has_every_metric_as_the_code_explains_it() -> None:
    rows = []
    for family in FAMILIES:
        name = f"{family.name}_total" if family.kind == "counter" else family.name
        rows.append(f"| `{name}` | {family.kind} | {', '.join(family.labels)} | {family.help} |")
    assert "\n".join(rows) in (ROOT / "docs" / "reference" / "metrics.md").read_text()


@pytest.mark.parametrize("path", ["deploy/prometheus/rules.yml", "deploy/grafana/glyphserve.json"])
def test_every_metric_that_is_asked_for_exists(path: str) -> None:
    asked = named_in((ROOT / path).read_text())
    assert len(asked) > 5
    assert asked <= SAMPLES


def test_the_queries_of_the_documentation_ask_for_metrics_that_exist() -> None:
    queries = (ROOT / "docs" / "how-to" / "monitor.md").read_text().partition("```promql")[2].partition("```")[0]
    assert named_in(queries)
    assert named_in(queries) <= SAMPLES


def test_every_panel_has_a_place_of_its_own_and_a_query() -> None:
    board = json.loads((ROOT / "deploy" / "grafana" / "glyphserve.json").read_text())
    taken = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, panel["title"]
                taken.add((x, y))
        if panel["type"] != "row":
            assert all(target["expr"] for target in panel["targets"]), panel["title"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


async def test_what_is_shown_is_what_there_is(client: httpx.AsyncClient) -> None:
    await client.post("/predict", json={"pixels": [0] * 300 + [255] * 100 + [0] * 384})
    shown = named_in((await client.get("/metrics")).text) | named_in(exposition(Metrics().collect()).decode())
    names = {f"{family.name}_total" if family.kind == "counter" else family.name for family in FAMILIES}
    assert names <= shown <= names | SAMPLES


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
async def test_probes_may_ask_by_head(path: str, client: httpx.AsyncClient) -> None:
    answer = await client.head(path)
    assert answer.status_code == 200
    assert "HEAD" in (await client.post(path)).headers["allow"]

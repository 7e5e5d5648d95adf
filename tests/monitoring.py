"""The alert rules and the dashboard as files, read the way Prometheus and Grafana read them."""

import json
from collections.abc import Iterator
from typing import Any

from tests.composing import ROOT

PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
RATE_INTERVAL = "20s"
"""What Grafana takes for $__rate_interval: four times the data source's `timeInterval`."""


def board() -> dict[str, Any]:
    return dict(json.loads((GRAFANA / "glyphserve.json").read_text()))


def queries() -> Iterator[tuple[str, str]]:
    """Give each panel's title and its queries, with Grafana's variables filled in for all instances."""
    for panel in board()["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$instance", ".*").replace("$__rate_interval", RATE_INTERVAL)

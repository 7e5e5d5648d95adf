"""The alerts do what they say, by Prometheus's own tool; the dashboard is what Grafana takes."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest

from tests.composing import can_be_had, docker, engine_answers
from tests.monitoring import GRAFANA, PROMETHEUS, RATE_INTERVAL, board, queries

yaml: Any = pytest.importorskip("yaml", reason="needs PyYAML (the extra dev)")

SHOWN = {"timeseries", "stat"}
"""The kinds of panel that are used; Grafana itself brings them."""


@pytest.mark.docker
@pytest.mark.parametrize(
    "words",
    [("check", "config", "prometheus.yml"), ("check", "rules", "rules.yml"), ("test", "rules", "rules.test.yml")],
)
def test_prometheus_takes_the_rules_and_they_fire_as_they_should(words: tuple[str, ...]) -> None:
    image = "prom/prometheus:latest"
    if not engine_answers() or not can_be_had(image):
        pytest.skip("no Docker Engine answers here, or no image of Prometheus can be had")
    options = ("--rm", "--network", "none", "--volume", f"{PROMETHEUS}:/rules:ro", "--workdir", "/rules")
    told = docker("run", *options, "--entrypoint", "promtool", image, *words)
    assert b"SUCCESS" in told.stdout


def test_each_alert_has_a_case_that_fires_and_one_that_stays_silent() -> None:
    rules = yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"][0]["rules"]
    cases = defaultdict(set)
    for test in yaml.safe_load((PROMETHEUS / "rules.test.yml").read_text())["tests"]:
        for case in test["alert_rule_test"]:
            cases[case["alertname"]].add(bool(case.get("exp_alerts")))
    assert cases == {rule["alert"]: {True, False} for rule in rules}


def test_each_alert_says_how_bad_it_is_and_what_it_means() -> None:
    for rule in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"][0]["rules"]:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"].endswith(".")
        assert re.fullmatch(r"\d+m", rule["for"])


def test_the_provisioning_finds_the_dashboard_and_its_data_source() -> None:
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/glyphserve.yml").read_text())["providers"]
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    scale = yaml.safe_load((GRAFANA.parents[1] / "docker-compose.scale.yml").read_text())["services"]
    mounted = [volume.split(":")[:2] for volume in scale["grafana"]["volumes"]]
    assert ["./deploy/grafana/provisioning", "/etc/grafana/provisioning"] in mounted
    assert ["./deploy/grafana/glyphserve.json", f"{provider['options']['path']}/glyphserve.json"] in mounted
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
    scraped = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped
    assert int(scraped.removesuffix("s")) * 4 == int(RATE_INTERVAL.removesuffix("s"))


def test_the_dashboard_is_of_the_form_that_grafana_takes() -> None:
    shown = board()
    assert shown["schemaVersion"] >= 36  # data sources are named by type and uid from then on
    assert shown["uid"] == "glyphserve"
    source, instance = shown["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("source", "datasource", "prometheus")
    assert (instance["name"], instance["type"], instance["allValue"]) == ("instance", "query", ".*")
    by_variable = {"type": "prometheus", "uid": "${source}"}
    assert instance["datasource"] == by_variable
    for panel in shown["panels"]:
        assert panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24, panel["title"]
        if panel["type"] == "row":
            continue
        assert panel["type"] in SHOWN
        assert panel["datasource"] == by_variable
        assert panel["fieldConfig"]["defaults"], panel["title"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            assert target["datasource"] == by_variable
            assert 'instance=~"$instance"' in target["expr"]


def test_grafanas_own_model_reads_all_of_it() -> None:
    """A key that Grafana does not know, or a value that it would take for another, is missing in what comes back."""
    models = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason="needs the extra dev")
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins

    register_default_plugins()
    given = board()
    taken = json.loads(JSONEncoder(sort_keys=True).encode(models.Dashboard.from_json(given)))
    assert list(lost(given, taken)) == []
    given["panels"][1]["targets"][0]["epxr"] = given["panels"][1]["fieldConfig"]["defaults"]["unti"] = "x"
    taken = json.loads(JSONEncoder(sort_keys=True).encode(models.Dashboard.from_json(given)))
    misspelt = ["/panels/1/fieldConfig/defaults/unti", "/panels/1/targets/0/epxr"]
    assert sorted(lost(given, taken)) == misspelt, "it would not have been found"


def lost(given: Any, taken: Any, place: str = "") -> Iterator[str]:
    """Find where what was given is not in what was taken."""
    if isinstance(given, dict):
        for key in given:
            yield from lost(given[key], taken.get(key), f"{place}/{key}") if key in taken else (f"{place}/{key}",)
    elif isinstance(given, list):
        for number, (one, other) in enumerate(zip(given, taken, strict=True)):
            yield from lost(one, other, f"{place}/{number}")
    elif given != taken:
        yield place


def test_no_variable_of_grafana_is_left_in_a_query() -> None:
    filled = [query for _, query in queries()]
    assert len(filled) > 15
    assert not [query for query in filled if "$" in query]

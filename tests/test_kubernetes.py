"""The manifests of deploy/kubernetes: held against Kubernetes' published schemas, and against what the service is."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.settings import Settings
from tests.service.test_deploy import SAMPLES

pytest.importorskip("kubernetes_validate", reason="needs kubernetes-validate (the extra dev)")
import kubernetes_validate  # type: ignore[import-untyped]
import yaml  # type: ignore[import-untyped]

FOLDER = Path(__file__).parents[1] / "deploy" / "kubernetes"
RESOURCES = ("api.yaml", "worker.yaml", "autoscaling.yaml", "network.yaml")


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def pods() -> Iterator[dict[str, Any]]:
    """Every pod that the files describe, KServe's too."""
    yield documents("api.yaml")[0]["spec"]["template"]["spec"]
    yield documents("worker.yaml")[0]["spec"]["template"]["spec"]
    yield documents("kserve/inferenceservice.yaml")[0]["spec"]["predictor"]


@pytest.mark.parametrize("name", RESOURCES)
def test_each_manifest_keeps_to_the_published_schema(name: str) -> None:
    for document in documents(name):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_a_misspelt_field_would_be_found() -> None:
    document = documents("api.yaml")[0]
    document["spec"]["template"]["spec"]["containers"][0]["readynessProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_kustomize_is_given_all_of_them() -> None:
    assert tuple(documents("kustomization.yaml")[0]["resources"]) == RESOURCES


def test_kserves_predictor_is_a_pod_by_the_published_schema() -> None:
    """KServe's own schema is in no package: what it takes over from pods is held against that of pods."""
    predictor = dict(next(pod for pod in pods() if "minReplicas" in pod))
    least, most = predictor.pop("minReplicas"), predictor.pop("maxReplicas")
    assert 0 < least < most
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mnist"}, "spec": predictor}
    kubernetes_validate.validate(pod, kubernetes_validate.latest_version(), strict=True)


def test_every_setting_that_is_named_exists() -> None:
    known = {f"GLYPHSERVE_{name.upper()}{suffix}" for name in Settings.model_fields for suffix in ("", "_FILE")}
    text = "".join(
        line.partition("#")[0] for path in FOLDER.rglob("*.yaml") for line in path.read_text().splitlines(keepends=True)
    )
    named = set(re.findall(r"GLYPHSERVE_[A-Z_]+", text))
    assert len(named) > 5
    assert named <= known


def test_no_pod_has_more_rights_than_it_needs() -> None:
    for pod in pods():
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False, "the Service's own variables would be taken for settings"
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert {"/data", "/tmp"} <= {mount["mountPath"] for mount in container["volumeMounts"]}  # noqa: S108
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        assert container["resources"]["limits"]["memory"]


def test_a_pod_has_time_to_drain() -> None:
    literals = documents("kustomization.yaml")[0]["configMapGenerator"][0]["literals"]
    settings = Settings(drain_seconds=dict(line.split("=", 1) for line in literals)["GLYPHSERVE_DRAIN_SECONDS"])
    finishing = 8
    for pod in list(pods())[:2]:
        assert pod["terminationGracePeriodSeconds"] > settings.drain_seconds + finishing


def test_probes_ask_what_the_service_answers() -> None:
    api = next(pods())["containers"][0]
    probes = {kind: api[kind]["httpGet"]["path"] for kind in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert probes == {
        "startupProbe": "/health/live",
        "readinessProbe": "/health/ready",
        "livenessProbe": "/health/live",
    }


def test_workers_are_named_by_their_pods() -> None:
    variables = documents("worker.yaml")[0]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert variables[0]["name"] == "GLYPHSERVE_WORKER_NAME"
    assert variables[0]["valueFrom"] == {"fieldRef": {"fieldPath": "metadata.name"}}


def test_the_autoscaler_asks_for_a_metric_that_the_adapter_makes_of_ours() -> None:
    rule = documents("adapter-rules.yaml")[0]["rules"]["custom"][0]
    asked = documents("autoscaling.yaml")[0]["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert rule["name"]["as"] == asked
    assert rule["seriesQuery"].partition("{")[0] in SAMPLES


def test_selectors_meet_the_pods_that_they_mean() -> None:
    api, service = documents("api.yaml")
    labels = api["spec"]["template"]["metadata"]["labels"]
    worker = documents("worker.yaml")[0]["spec"]["template"]["metadata"]["labels"]
    assert api["spec"]["selector"]["matchLabels"] == service["spec"]["selector"] == labels
    assert documents("autoscaling.yaml")[1]["spec"]["selector"]["matchLabels"] == labels
    into, out = (policy["spec"]["podSelector"]["matchLabels"] for policy in documents("network.yaml"))
    assert into == labels != worker
    assert out.items() <= worker.items()

"""The hosts that the deployment files allow: those that health checks, probes, scrapes and clients ask for."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service.api.auth import Authorizer
from service.api.keys import Keys
from service.errors import MisdirectedRequest
from service.registry.store import open_store
from service.settings import Settings
from tests.composing import ROOT

yaml: Any = pytest.importorskip("yaml", reason="needs PyYAML (the extra dev)")

KUBERNETES = ROOT / "deploy" / "kubernetes"
LOOPBACK = ("localhost:8000", "127.0.0.1:8000")  # as people and the image's health check ask
STRANGERS = ("evil.example", "evil.example:8000", "10.0.0.1", "localhost.evil.example", "")


def authorizer(folder: Path, environment: dict[str, str]) -> Authorizer:
    """The lock of a service without keys that others can connect to."""
    made = Authorizer(Keys(open_store(str(folder))), Settings(host="0.0.0.0", **settings_of(environment)))
    made.refresh()
    return made


def settings_of(environment: dict[str, str]) -> dict[str, Any]:
    variable = "GLYPHSERVE_ALLOWED_HOSTS"
    return {"allowed_hosts": environment[variable]} if variable in environment else {}


def compose(name: str, variables: dict[str, str]) -> dict[str, Any]:
    """Read a compose file with the variables filled in, as Compose does."""

    def value(found: re.Match[str]) -> str:
        return variables.get(found[1]) or found[2]

    return dict(yaml.safe_load(re.sub(r"\$\{(\w+):-([^}]*)\}", value, (ROOT / name).read_text())))


def assert_hosts(lock: Authorizer, asked: Iterator[str] | list[str]) -> None:
    for host in asked:
        lock.check_host(host.encode())
    for host in STRANGERS:
        with pytest.raises(MisdirectedRequest):
            lock.check_host(host.encode())


def test_the_image_answers_on_loopback_names_alone_until_it_is_told_others(tmp_path: Path) -> None:
    image = (ROOT / "Dockerfile").read_text()
    (check,) = re.findall(r"GET /health/ready .*?Host: ([^\\]+)", image)
    named = dict(re.findall(r"(GLYPHSERVE_\w+)=(\S+)", image))
    assert_hosts(authorizer(tmp_path, named), [check, *LOOPBACK])


@pytest.mark.parametrize("own", [{}, {"GLYPHSERVE_ALLOWED_HOSTS": "digits.example", "GLYPHSERVE_SUBNET": "10.213.8"}])
def test_the_compose_files_name_all_that_ask(tmp_path: Path, own: dict[str, str]) -> None:
    public = [own["GLYPHSERVE_ALLOWED_HOSTS"]] if own else []
    one = compose("docker-compose.yml", own)["services"]["glyphserve"]
    assert_hosts(authorizer(tmp_path, one["environment"]), [*LOOPBACK, *public])
    services = compose("docker-compose.scale.yml", own)["services"]
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"][0]
    targets = scraped["static_configs"][0]["targets"]
    assert len(targets) == 3
    for target in targets:
        replica = services[target.partition(":")[0]]
        address = replica["networks"]["front"]["ipv4_address"]
        assert address.startswith(own.get("GLYPHSERVE_SUBNET", "10.213.7"))
        assert_hosts(authorizer(tmp_path, replica["environment"]), [target, f"{address}:8000", *LOOPBACK, *public])


@pytest.mark.parametrize("pod_ip", ["10.1.2.3", "fd00::1:2"])
def test_the_pods_name_their_address_and_their_probes_ask_for_localhost(tmp_path: Path, pod_ip: str) -> None:
    api = next(yaml.safe_load_all((KUBERNETES / "api.yaml").read_text()))["spec"]["template"]["spec"]
    kserve = yaml.safe_load((KUBERNETES / "kserve/inferenceservice.yaml").read_text())["spec"]["predictor"]
    literals = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())["configMapGenerator"][0]["literals"]
    shared = dict(literal.split("=", 1) for literal in literals)
    scrape = f"[{pod_ip}]:8000" if ":" in pod_ip else f"{pod_ip}:8000"  # Prometheus cannot send another Host
    for pod, asking in ((api, [scrape, "glyphserve.example"]), (kserve, ["mnist-predictor.default.svc.cluster.local"])):
        (container,) = pod["containers"]
        environment = shared if "envFrom" in container else {}
        for variable in container["env"]:
            field = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
            given = {"status.podIP": pod_ip}[field] if field else variable["value"]
            environment[variable["name"]] = re.sub(r"\$\((\w+)\)", lambda m: environment[m[1]], given)  # noqa: B023
        probes = [probe["httpGet"] for name, probe in container.items() if name.endswith("Probe")]
        assert len(probes) >= 2
        hosts = [header["value"] for probe in probes for header in probe["httpHeaders"] if header["name"] == "Host"]
        assert len(hosts) == len(probes)
        assert_hosts(authorizer(tmp_path, environment), [*hosts, *asking])

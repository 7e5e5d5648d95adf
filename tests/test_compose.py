"""The compose files, as Compose itself reads them: no service has more rights or more room than it needs."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from service.settings import Settings
from tests.composing import Composed, engine_answers
from tests.fleet import FILES

yaml: Any = pytest.importorskip("yaml", reason="needs PyYAML (the extra dev)")

pytestmark = pytest.mark.docker

FINISHING_SECONDS = 8
SECRET = "secret-that-is-nowhere"  # noqa: S105 -- one that the test looks for
NO_HEALTH_CHECK = {"worker-1", "worker-2"}  # they serve nothing; one that ends is started again
OWN = {"glyphserve", "api-1", "api-2", "api-3", "worker-1", "worker-2"}
ALL = {*OWN, "proxy", "database", "prometheus", "grafana"}
CASES = [("one", "glyphserve"), *(("scale", name) for name in sorted(ALL - {"glyphserve"}))]


@cache
def configured(kind: str, secrets: Path | None = None) -> dict[str, Any]:
    """Read the file for one machine, or both, through Compose."""
    variables = {"GLYPHSERVE_SECRETS": str(secrets)} if secrets else {}
    composed = Composed("glyphserve-read", FILES if kind == "scale" else FILES[:1], variables)
    return dict(yaml.safe_load(composed.run("--profile", "grafana", "config")))


@pytest.fixture(scope="module", autouse=True)
def engine() -> None:
    if not engine_answers():
        pytest.skip("no Docker Engine answers here")


def bytes_of(size: Any) -> int:
    """Read a size as Compose v1 (3g) or v2 (3221225472) writes it."""
    text = str(size).lower().removesuffix("b")
    power = " kmg".index(text[-1]) if text[-1] in "kmg" else 0
    return int(text.rstrip("kmg")) * (1 << 10 * power)


def seconds_of(time: str) -> int:
    minutes, _, seconds = str(time).removesuffix("s").rpartition("m")
    return int(minutes or 0) * 60 + int(seconds or 0)


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_every_service_has_as_little_as_it_needs(kind: str, name: str) -> None:
    service = configured(kind)["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert not service.get("cap_add")
    assert not service.get("privileged")
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert service["restart"] == "unless-stopped"
    assert name == "prometheus" or service["tmpfs"], "nothing else can be written to"
    assert not any("docker.sock" in str(volume) for volume in service.get("volumes", []))
    assert 0 < bytes_of(service["mem_limit"]) <= 3 * 2**30
    assert 0 < int(service["pids_limit"]) <= 512
    assert float(service["cpus"]) > 0 or kind == "one", "one machine's only service may have all of it"


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_every_service_ends_in_peace_and_tells_how_it_is(kind: str, name: str) -> None:
    service = configured(kind)["services"][name]
    grace = seconds_of(service["stop_grace_period"])
    assert grace > (Settings().drain_seconds + FINISHING_SECONDS if name in OWN else 10)
    if name in NO_HEALTH_CHECK:
        assert service["healthcheck"] in ({"disable": True}, {"test": ["NONE"]})
    elif name not in OWN:  # ours have their image's
        assert service["healthcheck"]["test"][0] == "CMD", "needs no shell"


def test_everything_that_is_named_is_looked_at() -> None:
    named = set(configured("scale")["services"])
    assert named - {"glyphserve"} == ALL - {"glyphserve"}
    assert set(configured("one")["services"]) == {"glyphserve"}


def test_services_of_others_run_as_a_user_of_their_own() -> None:
    services = configured("scale")["services"]
    for name in ALL - OWN:
        assert str(services[name]["user"]).partition(":")[0] not in ("", "0", "root")
    for name in OWN - {"glyphserve"}:
        assert "user" not in services[name], "ours has it in its image"


def test_passwords_are_files_and_in_no_environment(tmp_path: Path) -> None:
    for name in ("database_url", "database_password", "grafana_password"):
        (tmp_path / name).write_text(SECRET)
    whole = configured("scale", tmp_path)
    assert SECRET not in str(whole)
    users = {name for name, service in whole["services"].items() if service.get("secrets")}
    assert users == ALL - {"proxy", "prometheus", "glyphserve"}
    for name, service in whole["services"].items():
        for variable, value in (service.get("environment") or {}).items():
            if any(word in variable for word in ("PASSWORD", "DATABASE_URL", "SECRET")):
                assert str(value).startswith("/run/secrets/"), (name, variable)


def test_only_the_proxy_and_the_pictures_of_metrics_are_published_and_on_loopback() -> None:
    for kind, expected in (("one", {"glyphserve"}), ("scale", {"proxy", "prometheus", "grafana"})):
        services = configured(kind)["services"]
        published = {name: service["ports"] for name, service in services.items() if service.get("ports")}
        published.pop("glyphserve", None) if kind == "scale" else None
        assert set(published) == expected
        for ports in published.values():
            assert all("127.0.0.1" in str(port) for port in ports)


def test_the_database_and_the_workers_have_no_way_out() -> None:
    whole = configured("scale")
    assert whole["networks"]["back"]["internal"] is True
    for name in ("database", "worker-1", "worker-2"):
        assert [*whole["services"][name]["networks"]] == ["back"]

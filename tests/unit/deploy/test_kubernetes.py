"""Every object of deploy/kubernetes fits the API's schemas, and they fit each other and the service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from serving.http.app import ROUTES
from serving.settings import Settings, unknown_variables
from tests.support.kustomize import Thing, rendered

pytestmark = pytest.mark.emulation
OVERLAYS = ("staging", "production")
# Not of Kubernetes itself; the operator brings their schema.
FOREIGN = {"PodMonitor"}
# The oldest that the clouds still run, and the newest that the schemas know.
VERSIONS = ("1.33", kubernetes_validate.latest_version())


@pytest.fixture(params=OVERLAYS)
def things(request: pytest.FixtureRequest, repository: Path) -> list[Thing]:
    return rendered(repository / "deploy/kubernetes/overlays" / request.param)


def of_kind(things: list[Thing], kind: str) -> list[Thing]:
    return [thing for thing in things if thing["kind"] == kind]


def pods(things: list[Thing]) -> dict[str, Any]:
    return {thing["metadata"]["name"]: thing["spec"]["template"] for thing in of_kind(things, "Deployment")}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_fits_the_schemas(things: list[Thing], version: str) -> None:
    for thing in things:
        if thing["kind"] not in FOREIGN:
            kubernetes_validate.validate(thing, version, strict=True)


def test_every_file_is_used_by_an_overlay(repository: Path) -> None:
    root = repository / "deploy/kubernetes"
    kept = {
        path.relative_to(root).as_posix()
        for path in root.rglob("*.yaml")
        if path.name != "kustomization.yaml"
    }
    named = {
        (path.parent / name).relative_to(root).as_posix()
        for path in root.rglob("kustomization.yaml")
        for name in yaml.safe_load(path.read_text()).get("resources", ())
        if name.endswith(".yaml")
    }
    # The adapter's own configuration, no object of the cluster.
    assert kept - named == {"components/prometheus-adapter/rules.yaml"}


def test_probes_ask_paths_that_are_open_and_tell_life_from_readiness(things: list[Thing]) -> None:
    (container,) = pods(things)["mien"]["spec"]["containers"]
    paths = {name: container[name]["httpGet"]["path"] for name in container if name.endswith("Probe")}
    assert paths == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    assert set(paths.values()) <= {endpoint.path for endpoint in ROUTES if endpoint.scope == "open"}
    # The pause before the end, and the service's own patience, fit into what Kubernetes gives.
    pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
    given = pods(things)["mien"]["spec"]["terminationGracePeriodSeconds"]
    assert given > pause + Settings.model_fields["shutdown_s"].default


def test_nothing_runs_as_root_or_writes_where_it_should_not(things: list[Thing]) -> None:
    for name, pod in pods(things).items():
        own = pod["spec"]["securityContext"]
        assert own["runAsNonRoot"], name
        assert own["runAsUser"] == 10001, name
        assert own["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert pod["spec"]["automountServiceAccountToken"] is False, name
        # Kubernetes' own MIEN_PORT would be taken for a setting.
        assert pod["spec"]["enableServiceLinks"] is False, name
        for container in pod["spec"]["containers"]:
            limits = container["securityContext"]
            assert limits["readOnlyRootFilesystem"], name
            assert limits["allowPrivilegeEscalation"] is False, name
            assert limits["capabilities"] == {"drop": ["ALL"]}, name
            assert "memory" in container["resources"]["limits"], name
            mounts = {mount["name"] for mount in container["volumeMounts"]}
            assert mounts == {volume["name"] for volume in pod["spec"]["volumes"]}, name


def test_secrets_are_referred_to_and_never_there(things: list[Thing]) -> None:
    assert of_kind(things, "Secret") == []
    for pod in pods(things).values():
        for container in pod["spec"]["containers"]:
            for variable in container["env"]:
                secret = any(word in variable["name"] for word in ("KEY", "SECRET", "AUTH", "DATABASE"))
                assert not secret or "secretKeyRef" in variable["valueFrom"], variable["name"]


def test_settings_are_settings(things: list[Thing]) -> None:
    (settings,) = of_kind(things, "ConfigMap")
    assert unknown_variables(settings["data"]) == []
    for pod in pods(things).values():
        for container in pod["spec"]["containers"]:
            assert unknown_variables({variable["name"]: "" for variable in container["env"]}) == []
            # A pod's own setting must not contradict the shared one.
            assert not {variable["name"] for variable in container["env"]} & settings["data"].keys()


def test_selectors_find_the_pods(things: list[Thing]) -> None:
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(things).items()}
    for deployment in of_kind(things, "Deployment"):
        assert deployment["spec"]["selector"]["matchLabels"] == labels[deployment["metadata"]["name"]]
    (service,) = of_kind(things, "Service")
    assert service["spec"]["selector"] == labels["mien"]
    (budget,) = of_kind(things, "PodDisruptionBudget")
    assert budget["spec"]["selector"]["matchLabels"] == labels["mien"]
    for policy in of_kind(things, "NetworkPolicy"):
        assert policy["spec"]["podSelector"]["matchLabels"] == labels[policy["metadata"]["name"]]
    for monitor in of_kind(things, "PodMonitor"):
        assert monitor["spec"]["selector"]["matchLabels"] == labels["mien"]
        # The alert rules ask for job="mien".
        assert labels["mien"][monitor["spec"]["jobLabel"]] == "mien"


def test_every_pod_has_a_network_policy(things: list[Thing]) -> None:
    assert {policy["metadata"]["name"] for policy in of_kind(things, "NetworkPolicy")} == pods(things).keys()


def test_ports_are_named_alike(things: list[Thing]) -> None:
    (container,) = pods(things)["mien"]["spec"]["containers"]
    (port,) = container["ports"]
    environment = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert environment["MIEN_PORT"] == str(port["containerPort"])
    (service,) = of_kind(things, "Service")
    assert [given["targetPort"] for given in service["spec"]["ports"]] == [port["name"]]
    for ingress in of_kind(things, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                assert path["backend"]["service"]["port"]["name"] == service["spec"]["ports"][0]["name"]


def test_it_is_scaled_by_requests_in_flight_and_by_cores_where_that_is_not_known(
    things: list[Thing], repository: Path
) -> None:
    (scaler,) = of_kind(things, "HorizontalPodAutoscaler")
    metrics = scaler["spec"]["metrics"]
    assert [metric["type"] for metric in metrics] == ["Pods", "Resource"]
    rules = yaml.safe_load(
        (repository / "deploy/kubernetes/components/prometheus-adapter/rules.yaml").read_text()
    )
    assert metrics[0]["pods"]["metric"]["name"] in {rule["name"]["as"] for rule in rules["rules"]}
    assert scaler["spec"]["scaleTargetRef"]["name"] in pods(things)
    # A number of replicas there would take back at every apply what the autoscaler did.
    (deployment,) = [thing for thing in of_kind(things, "Deployment") if thing["metadata"]["name"] == "mien"]
    assert "replicas" not in deployment["spec"]


def test_production_takes_images_by_digest(repository: Path) -> None:
    things = rendered(repository / "deploy/kubernetes/overlays/production")
    for pod in pods(things).values():
        for container in pod["spec"]["containers"]:
            assert "@sha256:" in container["image"]

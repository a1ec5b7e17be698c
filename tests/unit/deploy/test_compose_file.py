"""docker-compose.yml is valid, starts nothing without passwords, publishes little, names what exists."""

from __future__ import annotations

import hashlib
import importlib.util
import re
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from flows.dev_stack.services import read_stack
from serving.settings import Settings, unknown_variables
from tests.support.compose import VARIABLE, MissingVariable, compose, new_variables, variables_in

pytestmark = pytest.mark.emulation
LOOPBACK = re.compile(r"127\.0\.0\.1:\d+:\d+")


@pytest.fixture
def variables(repository: Path, tmp_path: Path) -> dict[str, str]:
    return new_variables(repository, tmp_path)


@pytest.fixture
def services(repository: Path, variables: dict[str, str]) -> dict[str, Any]:
    return dict(compose(repository, variables)["services"])


def test_it_keeps_to_the_compose_specification(repository: Path) -> None:
    done = subprocess.run(
        ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", "docker-compose.yml"],
        cwd=repository, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_refuses_to_start_without_any_one_of_the_secrets(
    repository: Path, variables: dict[str, str]
) -> None:
    assert compose(repository, variables)
    for name in variables:
        with pytest.raises(MissingVariable, match=f"{name} is missing in .env; deploy/new-env"):
            compose(repository, variables | {name: ""})


def test_the_example_holds_every_variable_and_no_secret(repository: Path) -> None:
    text = (repository / "docker-compose.yml").read_text()
    used = {match["name"]: match["kind"] for match in VARIABLE.finditer(text)}
    example = (repository / ".env.example").read_text()
    needed = variables_in(repository / ".env.example")
    offered = dict(re.findall(r"^#([A-Z_]+)=(.*)$", example, re.MULTILINE))
    assert {name for name, kind in used.items() if kind == "?"} == needed.keys()
    assert set(needed.values()) == {""}
    assert {name for name, kind in used.items() if kind == "-"} == offered.keys()
    defaults = {match["name"]: match["rest"] for match in VARIABLE.finditer(text) if match["kind"] == "-"}
    assert defaults == offered


def test_new_passwords_differ_each_time_and_the_file_is_its_owners(repository: Path, tmp_path: Path) -> None:
    written = []
    for name in "ab":
        (tmp_path / name).mkdir()
        written.append(new_variables(repository, tmp_path / name))
        assert stat.S_IMODE((tmp_path / name / ".env").stat().st_mode) == 0o600
    assert not set(written[0].values()) & set(written[1].values())
    again = subprocess.run(
        [repository / "deploy" / "new-env"], cwd=tmp_path / "a", capture_output=True, text=True
    )
    assert again.returncode == 1
    assert "is there already" in again.stderr


def test_the_metrics_key_is_one_that_the_service_takes(variables: dict[str, str]) -> None:
    digest = hashlib.sha256(variables["MIEN_METRICS_KEY"].encode()).hexdigest()
    assert f"prometheus:predict:{digest}" in variables["MIEN_API_KEYS"].split(",")


def test_only_what_asks_for_a_password_or_key_is_published_and_on_loopback(services: dict[str, Any]) -> None:
    ports = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert ports.keys() == {"proxy", "prefect", "grafana"}
    assert all(LOOPBACK.fullmatch(port) for given in ports.values() for port in given)
    assert len(ports["proxy"]) == 3


def test_everything_is_checked_restarted_limited_and_read_only(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["deploy"]["resources"]["limits"].keys() == {"cpus", "memory"}, name
        assert service["restart"] in ("unless-stopped", "on-failure:5"), name
        assert ("test" in service["healthcheck"]) == (name != "bucket"), name
        for needed, wanted in service.get("depends_on", {}).items():
            ends = needed == "bucket"
            condition = "service_completed_successfully" if ends else "service_healthy"
            assert wanted == {"condition": condition}, (name, needed)


def test_the_plain_profile_is_the_serving_side(services: dict[str, Any]) -> None:
    training = {name for name, service in services.items() if service.get("profiles") == ["training"]}
    assert training == {"prefect", "worker", "evidently"}
    for name in services.keys() - training:
        assert not training & services[name].get("depends_on", {}).keys(), name
        assert "training" not in services[name]["image"]


def test_images_are_pinned_by_tag(services: dict[str, Any]) -> None:
    for name, service in services.items():
        tag = service["image"].rpartition(":")[2]
        assert tag not in ("", "latest"), name


def test_paths_exist_and_scripts_are_scripts(repository: Path, services: dict[str, Any]) -> None:
    for name, service in services.items():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("./"):
                assert (repository / source).exists(), (name, source)
        if "build" in service:
            assert (repository / service["build"]["dockerfile"]).is_file(), name
    for script in (repository / "deploy").rglob("*.sh"):
        subprocess.run(["sh", "-n", script], check=True)
        assert script.stat().st_mode & 0o111, script


def test_volumes_and_networks_are_declared_and_used(repository: Path, variables: dict[str, str]) -> None:
    whole = compose(repository, variables)
    services = whole["services"].values()
    volumes = {volume.split(":")[0] for service in services for volume in service.get("volumes", ())}
    assert {name for name in volumes if name[0] != "."} == whole["volumes"].keys()
    assert {name for service in services for name in service["networks"]} == whole["networks"].keys()
    assert whole["networks"]["data"] == {"internal": True}


def test_new_volumes_belong_to_the_images_user(repository: Path, services: dict[str, Any]) -> None:
    """Docker gives a new volume the owner of its folder in the image, and root where there is none."""
    for name, service in services.items():
        if "build" not in service:
            continue
        text = (repository / service["build"]["dockerfile"]).read_text()
        made = re.findall(r"install --directory --owner=10001 --group=10001 \S+ (.+)$", text, re.MULTILINE)
        for volume in service.get("volumes", ()):
            source, target = volume.split(":")[:2]
            assert source.startswith("./") or target in made[0].split(), (name, volume)


def test_commands_run_modules_and_programs_that_exist(repository: Path, services: dict[str, Any]) -> None:
    for name, service in services.items():
        command = service.get("command", service.get("entrypoint"))
        if command is None:
            continue
        if command[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(command[2]), name
        else:
            known = {"prefect", "evidently", "mien-worker", "/bin/sh"}
            assert command[0] in known, (name, command)


def test_the_services_settings_are_settings(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("api", "worker"):
        given = services[name]["environment"]
        assert unknown_variables(given) == [], name
    for variable, value in services["api"]["environment"].items():
        monkeypatch.setenv(variable, str(value))
    settings = Settings()
    assert settings.host == "0.0.0.0"  # noqa: S104 - inside the container
    assert settings.tracking_uri.reveal() == "http://mlflow:5000"
    assert len(settings.api_keys) == 3
    # Docker waits longer than the service takes to end.
    assert int(services["api"]["stop_grace_period"].removesuffix("s")) > settings.shutdown_s


def test_drift_and_retention_see_what_the_service_wrote(services: dict[str, Any]) -> None:
    shared = [name for name in services["worker"]["environment"] if name.startswith("MIEN_")]
    assert "MIEN_DATABASE_URL" in shared
    for name in shared:
        assert services["worker"]["environment"][name] == services["api"]["environment"][name], name


def test_mlflow_and_prefect_are_set_as_by_make_up(repository: Path, services: dict[str, Any]) -> None:
    """The containers have every setting of `make up`, except addresses and folders."""
    here = read_stack({}, repository).environment({})
    own = {"MLFLOW_TRACKING_URI", "PREFECT_API_URL", "PREFECT_HOME"}
    for prefix, holders in (("PREFECT_", ("prefect", "worker")), ("MLFLOW_", ("mlflow",))):
        for name in {name for name in here if name.startswith(prefix)} - own:
            for holder in holders:
                assert services[holder]["environment"].get(name) == here[name], (holder, name)


def test_each_program_has_a_database_and_a_role_of_its_own(
    repository: Path, services: dict[str, Any]
) -> None:
    script = (repository / "deploy/docker/postgres/databases.sh").read_text()
    made = set(re.findall(r'^create (\w+) "\$(\w+)"$', script, re.MULTILINE))
    assert made == {
        ("mlflow", "MLFLOW_DB_PASSWORD"),
        ("prefect", "PREFECT_DB_PASSWORD"),
        ("observations", "MIEN_DB_PASSWORD"),
    }
    addresses = {
        "mlflow": services["mlflow"]["environment"]["MLFLOW_BACKEND_STORE_URI"],
        "prefect": services["prefect"]["environment"]["PREFECT_SERVER_DATABASE_CONNECTION_URL"],
        "observations": services["api"]["environment"]["MIEN_DATABASE_URL"],
    }
    for role, password in made:
        assert password in services["postgres"]["environment"]
        given = services["postgres"]["environment"][password]
        assert f"://{role}:{given}@postgres:5432/{role}" in addresses[role]

"""The Helm chart, installed by Helm itself into an API of our own: what arrives is valid, and is the compose file's.

``make test-chart`` fetches Helm (``helm_sdkpy``, its library as a Python package; its record of a release stays in its
memory) and the validators of KEDA's and the Prometheus operator's kinds. Kubernetes' own kinds are checked by
``kubernetes_validate``. Nothing runs on a cluster.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.lacking import lacking
from tests.ops.kube_api import Object, kube_api
from tests.ops.test_compose import SERVICES

pytestmark = pytest.mark.chart
ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/errata"
TOOLS = Path(os.environ.get("ERRATA_CHART_TOOLS", "absent"))
VERSION = "1.34.0"
VALIDATORS = {
    "ScaledObject": ("keda", "KedaShV1alpha1ScaledObject"),
    "TriggerAuthentication": ("keda", "KedaShV1alpha1TriggerAuthentication"),
    "PodMonitor": (
        "prometheus-operator",
        "ComGithubPrometheusOperatorPrometheusOperatorPkgApisMonitoringV1PodMonitor",
    ),
}
#: Values that turn everything on, and everything that can be turned off.
FULL = {
    "files": {"url": "s3://bucket/errata"},
    "api": {"publicUrl": "https://e.example.org", "trustedProxies": "10.0.0.0/8",
            "ingress": {"enabled": True, "className": "nginx", "tlsSecret": "tls", "annotations": {"a/b": "c"}}},
    "generation": {"gpus": 2, "tolerations": [{"key": "gpu", "operator": "Exists"}], "nodeSelector": {"gpu": "h100"}},
    "trainer": {"replicas": 2, "cache": {"storageClass": "fast"}, "nodeSelector": {"gpu": "h100"}},
    "image": {"tag": "1.2.3", "pullSecrets": [{"name": "registry"}]},
    "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
    "networkPolicy": {"enabled": True},
}  # fmt: skip
BARE = {
    "keda": {"enabled": False},
    "migrate": {"enabled": False},
    "generation": {"gpus": 0},
    "trainer": {"gpus": 0},
    "files": {"storageClass": "nfs"},
}


@pytest.fixture(scope="module", autouse=True)
def _helm() -> Iterator[None]:
    if not (TOOLS / "helm").is_dir():
        lacking("Helm: run `make test-chart`")
    sys.path.insert(0, str(TOOLS / "helm"))
    yield
    sys.path.remove(str(TOOLS / "helm"))


def install(folder: Path, values: dict[str, Any]) -> list[Object]:
    """What Helm creates from the chart with these values, in its order. Raises Helm's error."""
    import helm_sdkpy

    with kube_api() as (api, config):
        kubeconfig = folder / "kubeconfig"
        kubeconfig.write_text(config)
        helm = helm_sdkpy.Configuration(namespace="ml", kubeconfig=str(kubeconfig))
        asyncio.run(helm_sdkpy.Install(helm).run("own", str(CHART), values=values, wait=False, timeout=60))
        return api.objects


@pytest.fixture(scope="module", params=["default", "full", "bare"])
def objects(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Object]:
    values: dict[str, Any] = {"default": {}, "full": FULL, "bare": BARE}[request.param]
    return install(tmp_path_factory.mktemp("chart"), values)


def containers(objects: list[Object]) -> dict[str, Object]:
    """The one container of each role."""
    found = {}
    for each in objects:
        if each["kind"] in ("Deployment", "StatefulSet", "Job"):
            (container,) = each["spec"]["template"]["spec"]["containers"]
            found[container["name"]] = container
    return found


def test_every_object_is_valid_by_its_kinds_schema(objects: list[Object]) -> None:
    for each in objects:
        if each["kind"] in VALIDATORS:
            continue
        written = {key: value for key, value in each.items() if key != "status"}
        kubernetes_validate.validate(written, VERSION, strict=True)


def test_every_object_of_keda_and_the_operator_is_valid_by_its_kinds_schema(objects: list[Object]) -> None:
    for each in objects:
        if each["kind"] in VALIDATORS:
            assert validated(each) == []


def test_the_validators_would_notice(tmp_path: Path) -> None:
    found = next(each for each in install(tmp_path, {}) if each["kind"] == "ScaledObject")
    assert validated({**found, "spec": {**found["spec"], "triggers": "none"}})
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({"apiVersion": "v1", "kind": "Service", "spec": {"port": 1}}, VERSION, strict=True)


def validated(what: Object) -> list[Any]:
    """What the validator of its kind finds wrong with an object."""
    package, name = VALIDATORS[what["kind"]]
    module = TOOLS / "node_modules/@kubernetes-models" / package / "_schemas" / f"{name}.js"
    script = (
        f"const {{validate}} = require({json.dumps(str(module))});"
        "const ok = validate(JSON.parse(require('fs').readFileSync(0, 'utf8')));"
        "console.log(JSON.stringify(ok ? [] : validate.errors));"
    )
    done = subprocess.run(["node", "-e", script], input=json.dumps(what), capture_output=True, text=True, check=True)
    found: list[Any] = json.loads(done.stdout)
    return found


def test_roles_run_what_the_compose_file_runs(objects: list[Object]) -> None:
    same = {"api": "api", "sweeper": "sweeper", "generation": "worker-generation", "grading": "worker-grading"}
    same |= {"trainer": "trainer", "migrate": "migrate"}
    found = containers(objects)
    assert set(found) >= set(same) - {"migrate"}
    for role, container in found.items():
        service = SERVICES[same[role]]
        without_settings = [word for word in container["args"] if not word.isdigit()]
        assert without_settings == [word for word in service["command"] if not word.startswith("${")]
        assert container["image"].split(":")[0] == service["image"].split(":")[0]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["resources"]["limits"]["memory"]


def test_each_worker_is_scaled_by_the_shards_of_its_own_queue(objects: list[Object]) -> None:
    scaled = {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == "ScaledObject"}
    deployments = {each["metadata"]["name"]: each["spec"] for each in objects if each["kind"] == "Deployment"}
    keys = {each["metadata"]["name"] for each in objects if each["kind"] == "TriggerAuthentication"}
    assert set(scaled) in (set(), {"own-errata-generation", "own-errata-grading"})
    for name, spec in scaled.items():
        (trigger,) = spec["triggers"]
        queue = name.rpartition("-")[2]
        assert spec["scaleTargetRef"] == {"name": name}
        assert trigger["metadata"]["valueLocation"] == f'errata_queue_shards{{queue="{queue}"}}'
        assert trigger["metadata"]["url"] == "http://own-errata-api.ml.svc/metrics"
        assert trigger["authenticationRef"]["name"] in keys
        assert "replicas" not in deployments[name], "two would set the number of pods"
    for name, spec in deployments.items():
        assert name in scaled or spec["replicas"] >= 1


def test_services_and_volumes_lead_to_something(objects: list[Object]) -> None:
    by_kind: dict[str, set[str]] = {}
    for each in objects:
        by_kind.setdefault(each["kind"], set()).add(each["metadata"]["name"])
    pods = [each["spec"]["template"] for each in objects if each["kind"] in ("Deployment", "StatefulSet", "Job")]
    for each in objects:
        if each["kind"] == "Service":
            wanted = each["spec"]["selector"].items()
            assert any(wanted <= pod["metadata"]["labels"].items() for pod in pods)
    for pod in pods:
        (container,) = pod["spec"]["containers"]
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]} | {"cache"}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
        for volume in pod["spec"]["volumes"]:
            if "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in by_kind["PersistentVolumeClaim"]
        for source in container["envFrom"]:
            assert source["configMapRef"]["name"] in by_kind["ConfigMap"]


def test_the_schema_is_migrated_before_anything_else_runs(tmp_path: Path) -> None:
    kinds = [each["kind"] for each in install(tmp_path, {})]
    assert kinds[:2] == ["ConfigMap", "Job"]


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"generaton": {"gpus": 2}}, "generaton"),
        ({"trainer": {"gpus": "two"}}, "gpus"),
        ({"brokerUrl": "memory://"}, "brokerUrl"),
        ({"settings": {"log level": "x"}}, "log level"),
    ],
)
def test_a_value_that_is_wrong_is_named(tmp_path: Path, values: dict[str, Any], named: str) -> None:
    with pytest.raises(Exception, match=named):
        install(tmp_path, values)


def test_every_value_has_a_type_in_the_schema() -> None:
    """So that a new value cannot be misspelt unnoticed."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def walk(given: dict[str, Any], known: dict[str, Any], at: str) -> None:
        known = schema["definitions"][known["$ref"].rpartition("/")[2]] if "$ref" in known else known
        if "properties" not in known:
            return
        assert set(given) <= set(known["properties"]), at
        for name, value in given.items():
            if isinstance(value, dict):
                walk(value, known["properties"][name], f"{at}.{name}")

    walk(values, schema, "values")


def test_trainers_reach_each_other(objects: list[Object]) -> None:
    """The hosts of one run meet at pods' addresses, at ports that torch chooses."""
    (trainers,) = [each for each in objects if each["kind"] == "StatefulSet"]
    labels = trainers["spec"]["template"]["metadata"]["labels"]
    env = containers(objects)["trainer"]["env"]
    told = [each for each in env if each["name"] == "ERRATA_TRAINER_ADDRESS"]
    assert [each["valueFrom"]["fieldRef"]["fieldPath"] for each in told] == ["status.podIP"]
    (service,) = [each for each in objects if each["metadata"]["name"] == trainers["spec"]["serviceName"]
                  and each["kind"] == "Service"]  # fmt: skip
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= labels.items()
    for policy in (each for each in objects if each["kind"] == "NetworkPolicy"):
        sources = [source for rule in policy["spec"]["ingress"] if "ports" not in rule for source in rule["from"]]
        assert any(source["podSelector"]["matchLabels"].items() <= labels.items() for source in sources)

"""Prometheus' and Grafana's files: every name they ask for is one that Errata tells, in expressions that parse."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from tests.ops.test_compose import SERVICES

ROOT = Path(__file__).resolve().parents[2]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/dashboards/errata.json").read_text(encoding="utf-8"))
RULES: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text(encoding="utf-8"))
PROMETHEUS: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text(encoding="utf-8"))
CODE = "".join(
    file.read_text(encoding="utf-8") for file in (ROOT / "api/metrics.py", ROOT / "models/telemetry/metrics.py")
)
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
EXPRESSIONS += [rule["expr"] for group in RULES["groups"] for rule in group["rules"]]
#: What prometheus_client's own collectors tell of a process.
OF_PROCESSES = {"process_resident_memory_bytes"}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_parses_and_asks_for_metrics_that_there_are(expression: str) -> None:
    promql_parser.parse(expression)
    names = set(re.findall(r"\b(?:errata|process)_[a-z_]+", expression))
    assert names
    for name in names - OF_PROCESSES:
        family = re.sub(r"_(total|bucket|count|sum)$", "", name)
        assert f'"{family}"' in CODE, name


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_what_is_scraped_is_a_service_with_a_port_of_metrics() -> None:
    for job in PROMETHEUS["scrape_configs"]:
        for source in job["dns_sd_configs"]:
            assert set(source["names"]) <= set(SERVICES)
            ports = {"errata-api": "ERRATA_PORT", "errata-workers": "ERRATA_METRICS_PORT"}
            if job["job_name"] in ports:
                for name in source["names"]:
                    assert SERVICES[name]["environment"][ports[job["job_name"]]] == str(source["port"])
                assert job["authorization"]["credentials_file"] == "/run/secrets/errata_metrics_token"

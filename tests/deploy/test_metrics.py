"""Dashboards and alerts ask only for what services export."""

import json
import re

import pytest
from entresol_contracts import EVENT_TYPES

from tests.deploy import manifests

EXPRESSIONS = manifests.expressions()


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_every_series_and_label_is_one_that_services_export(where: str) -> None:
    exported = manifests.metrics()
    named = [name for name, _ in manifests.SELECTOR.findall(EXPRESSIONS[where])]
    assert named
    for name in named:
        assert name in exported, f"no service exports {name}"
    assert manifests.labels_of(EXPRESSIONS[where]) <= set().union(*(exported[name] for name in named))


@pytest.mark.parametrize("where", [where for where in EXPRESSIONS if "fact" in EXPRESSIONS[where]])
def test_every_fact_is_one_of_the_contract(where: str) -> None:
    facts = {known.fact for known in EVENT_TYPES}
    for listed in re.findall(r'fact=~?"([^"]+)"', EXPRESSIONS[where]):
        assert set(listed.split("|")) <= facts


@pytest.mark.parametrize("where", EXPRESSIONS)
def test_parentheses_and_braces_are_balanced(where: str) -> None:
    for opening, closing in ("()", "{}", "[]"):
        assert EXPRESSIONS[where].count(opening) == EXPRESSIONS[where].count(closing)


def test_every_alert_says_what_is_wrong_and_what_to_do() -> None:
    for group in manifests.load(manifests.COMPOSE / "prometheus/alerts.yml")["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"page", "ticket"}
            assert rule["annotations"].keys() == {"summary", "action"}


def test_dead_letters_lag_stalled_requests_and_outbox_age_are_watched() -> None:
    (group,) = manifests.load(manifests.COMPOSE / "prometheus/alerts.yml")["groups"]
    alerts = {rule["alert"] for rule in group["rules"]}
    assert alerts >= {"DeadLetters", "ConsumerLag", "RequestsStalled", "OutboxAge"}
    assert alerts >= {"ParkedKeys", "DeadlinesOverdue", "WorkOverdue"}, "whatever waits has a visible sign"


def test_panels_have_a_place_of_their_own_and_a_known_data_source() -> None:
    dashboard = json.loads((manifests.COMPOSE / "grafana/dashboards/entresol.json").read_text(encoding="utf-8"))
    (source,) = manifests.load(manifests.COMPOSE / "grafana/provisioning/datasources/prometheus.yaml")["datasources"]
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        assert panel["datasource"]["uid"] == source["uid"]
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells), panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])

"""What expressions see, and that nothing is kept when it has been said."""

import weakref
from typing import Any

import pytest
from entresol_policy.domain.judging import Unclear
from entresol_policy.evaluation import Evaluator
from entresol_policy.hearing import Hearing

CART = {"team": "shop", "properties": {"tier": 1}}


class Catalog:
    """A catalog with one service."""

    def find(self, blueprint: str, identifier: str) -> dict[str, Any] | None:
        return CART if (blueprint, identifier) == ("service", "cart") else None


def test_a_hearing_is_gone_as_soon_as_nobody_holds_it() -> None:
    """Without the collector's help, which can't see what the engine holds."""
    catalog = Catalog()
    hearing = Hearing(Evaluator(), catalog.find, request={"name": "cart"})
    assert hearing.holds('catalog.entity("service", request.name).properties.tier == 1')
    gone = weakref.ref(catalog)
    del catalog, hearing
    assert gone() is None


def test_expressions_ask_the_catalog() -> None:
    hearing = Hearing(Evaluator(), Catalog().find, request={"name": "cart"})
    assert hearing.holds('catalog.knows("service", "cart") && !catalog.knows("service", "till")')
    assert hearing.people(["owner:service/${request.name}", "user:ada"]) == ("group:shop", "user:ada")
    with pytest.raises(Unclear, match="the catalog has no service till"):
        hearing.holds('catalog.entity("service", "till").team == "shop"')

"""What a scope is about, and who is meant."""

from dataclasses import dataclass

import pytest
from entresol_policy.domain.scopes import Scope, claims, entitled


@dataclass(frozen=True)
class Asked:
    request_id: str = "01REQ"
    resource_id: str = "shop/prod/postgres/orders"
    project: str = "shop"
    environment: str = "prod"
    offering: str = "postgres"
    action: str = "update"


@pytest.mark.parametrize(
    ("scope", "fits"),
    [
        (Scope(), True),
        (Scope(project="shop"), True),
        (Scope(project="shop", environment="prod", offering="postgres", action="update"), True),
        (Scope(resource="shop/prod/postgres/orders"), True),
        (Scope(request="01REQ"), True),
        (Scope(project="blog"), False),
        (Scope(project="shop", environment="staging"), False),
        (Scope(project="shop", environment="prod", offering="redis"), False),
        (Scope(resource="shop/prod/postgres"), False),
        (Scope(action="delete"), False),
        (Scope(request="01OTHER"), False),
        (Scope(project="sh*"), False),
        (Scope(project=""), False),
        (Scope(project="SHOP"), False),
    ],
)
def test_a_scope_fits_what_agrees_in_every_field(scope: Scope, fits: bool) -> None:
    assert scope.fits(Asked()) is fits


@pytest.mark.parametrize(
    ("who", "actor", "groups", "meant"),
    [
        (["user:ada"], "user:ada", [], ("user:ada",)),
        (["group:sre"], "user:bob", ["sre"], ("group:sre",)),
        (["group:sre", "user:bob", "group:sre"], "user:bob", ["sre"], ("group:sre", "user:bob")),
        (["ci:github/shop/cart"], "ci:github/shop/cart", [], ("ci:github/shop/cart",)),
        (["group:sre"], "user:eve", ["devs"], ()),
        (["group:sre"], "user:eve", ["group:sre"], ()),
        (["group:sre"], "group:sre", [], ()),
        (["group:"], "user:eve", [], ()),
        (["user:ada"], "user:Ada", [], ()),
        (["user:ada"], "user:eve", ["user:ada"], ()),
        ([], "user:ada", ["sre"], ()),
    ],
)
def test_people_are_meant_by_name_or_by_a_group(
    who: list[str], actor: str, groups: list[str], meant: tuple[str, ...]
) -> None:
    assert claims(who, actor, groups) == meant
    assert entitled(who, actor, groups) is bool(meant)

"""The expressions of offerings, over whatever a request brings along."""

import pytest
from entresol_manifests.expressions import ExpressionError
from entresol_provisioning.scopes import filled

HARMLESS = "inputs.ports.all(a, inputs.ports.all(b, a + b > 0))"


def test_an_expression_that_the_inputs_make_endless_is_ended_and_named() -> None:
    with_ = {"open": f"${{{HARMLESS}}}"}
    assert filled(with_, {"inputs": {"ports": [80, 443]}}) == {"open": True}
    with pytest.raises(ExpressionError, match=r"/open: takes more than 0\.25 s: `inputs\.ports\.all"):
        filled(with_, {"inputs": {"ports": list(range(1, 20_000))}})

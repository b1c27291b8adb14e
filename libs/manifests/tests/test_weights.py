"""What may take long is known before it is evaluated, and evaluating together says what each says alone."""

import math
from typing import Any

import pytest
from entresol_manifests.batches import Batch
from entresol_manifests.expressions import Expression, ExpressionError, Scope, compile_expression
from entresol_manifests.weights import LARGEST, Size, measure

REQUEST = {
    **dict.fromkeys(["id", "project", "environment", "offering", "action", "version", "name", "reason"], "x" * 20),
    "inputs": {"size": "large", "count": 3, "tags": ["a", "b", "c"]},
}
SCOPE = Scope(request=REQUEST, actor={"id": "user:ada", "groups": ["data", "sre"]}, catalog={})


def microseconds(source: str, scope: Scope = SCOPE) -> float:
    expression = Expression(source)
    return expression.weight.microseconds(scope.size(expression.reads))


@pytest.mark.parametrize(
    "source",
    [
        'request.environment == "prod" && !("data" in actor.groups)',
        'has(request.inputs.size) && request.inputs.size in ["large", "huge"]',
        'request.inputs.tags.exists(t, t == "pii" || t in ["a", "b"])',
        'request.inputs.tags.all(t, t.matches("^[a-z]+$"))',
        'request.name.matches("^[a-z]+\\\\.[a-z0-9-]+$") || request.name.lowerAscii() == "x"',
        "request.inputs.count + 1 > 5",
        'catalog.entity("service", request.name).scorecards.ready.rank >= 2',
    ],
)
def test_what_is_usual_is_light(source: str) -> None:
    assert microseconds(source) < 10_000


@pytest.mark.parametrize(
    "source",
    [
        "request.inputs.tags.map(t, t) == []",
        "request.inputs.tags.filter(t, true) == []",
        'request.name.replace("a", "b") == ""',
        'request.name . split ("-") == []',
        "[request.name, actor.id].exists(x, x == 1)",
        "[1].exists(x, x in[request.inputs.tags, request.inputs.tags])",
        '{"a": request}.exists(x, true)',
        "request.name.matches(actor.id)",
        'request.name.matches("(a{100}){100}")',
        "request.name.matches(r'\\w+')",
        'request.name.matches("\\\\w+")',
        'request.name.matches("a" + "b")',
        'request.inputs.tags.exists(t, catalog.knows("a", t))',
        'catalog.entity("a", "b").list + catalog.entity("a", "b").list == []',
    ],
)
def test_what_has_no_bound_is_known(source: str) -> None:
    weight = Expression(source).weight
    assert not weight.bounded
    assert weight.microseconds(Size()) == math.inf


def test_a_weight_grows_with_what_the_expression_does_and_reads() -> None:
    small, large = Scope(l=[1] * 10, s="x"), Scope(l=[1] * 1000, s="x")
    assert microseconds("l == l", large) > 50 * microseconds("l == l", small)
    assert microseconds("l.exists(x, x == 2)", large) > 1000 * microseconds("l.exists(x, x == 2)", small)
    nested = "l.exists(x, l.exists(y, x == y))"
    assert microseconds(nested, large) > 100_000 * microseconds(nested, small)
    assert microseconds("s + s + s + s == s") > 3 * microseconds("s == s")
    assert microseconds("l == l // + + '", small) < microseconds("l + l + l == l", small)


def test_a_comment_hides_no_weight() -> None:
    assert microseconds('1 == 1 // "\n && request.inputs.tags.map(t, t) == [] // "') == math.inf


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (None, Size(1, 0)),
        ("x" * 32, Size(3, 0)),
        ([1, [2, 3, 4]], Size(6, 3)),
        ({"a": {"b": [1]}}, Size(6, 1)),
        ([0] * LARGEST, Size(math.inf, math.inf)),
        ("x" * LARGEST * 16, Size(math.inf, math.inf)),
    ],
)
def test_values_are_measured(value: object, size: Size) -> None:
    assert measure(value) == size


def test_a_batch_has_the_value_of_each() -> None:
    batch = Batch([compile_expression(source) for source in ("1 // one", "request.inputs.tags", "actor.id == 'x'")])
    assert batch.evaluate(SCOPE) == [1, ["a", "b", "c"], False]
    parts = [compile_expression(source).weight.microseconds(SCOPE.size(["request"])) for source in ("1 // one",)]
    assert batch.weight.microseconds(SCOPE.size(batch.reads)) > sum(parts)


@pytest.mark.parametrize("failing", ["request.missing == 1", "'a'.split('')", "nobody", "1 / 0"])
def test_a_batch_in_which_one_fails_has_no_values(failing: str) -> None:
    assert Batch([compile_expression("true"), compile_expression(failing)]).evaluate(SCOPE) is None


PATHS: dict[str, Any] = {
    "r": {"inputs": {"size": "s", "tags": ["a"], "deep": {"x": {"y": 1}}}, "nothing": None, "name": "n"},
    "x": {"inputs": {"size": 3}},
}


@pytest.mark.parametrize(
    "source",
    [
        "r.inputs.size == 's' && has(r.inputs.tags) && !has(r.inputs.other)",
        "r.inputs.tags[0] + r.inputs['size'] + 'r.inputs.size' // r.inputs.size",
        "r.inputs.deep.x.y + size(r.inputs.tags) + r.name.size() + r.inputs.size.size()",
        "[x.inputs.size, r.inputs.deep.map(x, r.inputs.deep.x.y)]",
        "[{'inputs': {'size': 's'}}].all(x, x.inputs.size == r.inputs.size)",
        "{'r': {'inputs': {'size': 1}}}.r.inputs.size",
        "{'r': {'inputs': {'size': 1}}}. r.inputs.size",
        "{'r': {'inputs': {'size': 1}}} .r.inputs.size",
        "{'r': {'inputs': {'size': 1}}}.//\nr.inputs.size",
        "r.nothing == null || r.nothing.at == 1",
        "true || r.missing.at == 1",
        "has(r.missing) && r.missing.at == 1",
        "r.nothing.at",
        "has(r.missing.at)",
        "r.missing.at",
        "r.inputs.missing",
        "nobody.inputs.size",
        "r.name.size",
    ],
)
def test_a_batch_says_of_fields_of_fields_what_each_says_alone(source: str) -> None:
    expression = compile_expression(source)
    try:
        alone = [expression.evaluate(Scope(**PATHS))] * 2
    except ExpressionError:
        alone = None
    assert Batch([expression, expression]).evaluate(Scope(**PATHS)) == alone


def test_a_batch_reads_the_fields_of_what_was_put_in_place_of_others() -> None:
    batch, scope = Batch([compile_expression("r.inputs.size")]), Scope(**PATHS)
    assert batch.evaluate(scope) == ["s"]
    scope.put("r", {"inputs": {"size": "l"}})
    assert batch.evaluate(scope) == ["l"]
    scope.put("r", {})
    assert batch.evaluate(scope) is None


def test_what_is_too_deep_together_says_so() -> None:
    deep = next(each for number in range(100, 1, -1) if (each := _compiled("true ? 1 : " * number + "1")) is not None)
    with pytest.raises(ExpressionError, match="too deep to be evaluated together"):
        Batch([deep, deep])


def _compiled(source: str) -> Expression | None:
    try:
        return compile_expression(source)
    except ExpressionError:
        return None

"""Expressions say what is wrong in words, never crash the process, and keep types through placeholders."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from entresol_manifests.expressions import Expression, ExpressionError, Scope, compile_expression
from entresol_manifests.placeholders import interpolate, placeholders
from hypothesis import given
from hypothesis import strategies as st

SCOPE = Scope(
    request={"environment": "prod", "inputs": {"size": "large", "count": 3, "none": None, "tags": ["a", "b"]}},
    actor={"id": "user:ada", "groups": ["data"]},
    s="Hello",
    steps={"data-base": {"outputs": {"host": "db"}}},
)


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("request.inputs.count + 1", 4),
        ('has(request.inputs.size) && request.inputs.size == "large"', True),
        ('"data" in actor.groups', True),
        ("request.inputs.none == null", True),
        ('steps["data-base"].outputs.host', "db"),
        ('"refs/heads/main".replace("refs/heads/", "")', "main"),
        ('"shop/cart".split("/")[0]', "shop"),
        ('request.inputs.tags.join(", ")', "a, b"),
        ('"  x ".trim() + "é".upperAscii() + "É".lowerAscii()', "xéÉ"),
        ('"cart".substring(1)', "art"),
        ('"cart".substring(1, 3)', "ar"),
        ('"a.b.c".lastIndexOf(".")', 3),
        ('s.indexOf("zz")', -1),
        ('"((((((((((((((((((((((((((((((((((((((" + "}"', "(" * 38 + "}"),
        ('r"\\" + s', "\\Hello"),
        ("[1, 2].map(x, [3].map(y, x * y))", [[3], [6]]),
        ("false && request.missing", False),
        ("1 // it's one\n + 1", 2),
    ],
)
def test_an_expression_has_its_value(source: str, value: Any) -> None:
    assert Expression(source).evaluate(SCOPE) == value


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("request.inputs.colour", "`request.inputs.colour` is missing; test for it with has(request.inputs.colour)"),
        ('request["size"]', '`request["size"]` is missing; test for it with "size" in request'),
        ("request.inputs.none.x", "`request.inputs.none` is null and has no `x`"),
        ("request.inputs.size.x", "`request.inputs.size` is text and has no `x`"),
        ("actor.groups.first == 'x'", "`actor.groups` is a list and has no `first`"),
        ("resource.id", "`resource` is not known here; there are actor, request, s, steps"),
        ("1.5 + 1", "types are never converted; use int(), double() or string()"),
        ("[1][4]", "the list does not have"),
        ("1 / 0", "divides by zero"),
        ("9223372036854775807 + 1", "64 bits"),
        ("timestamp(s)", "`timestamp` refuses its argument"),
        ("s.contains(1)", "`contains` does not take arguments of these types"),
        ('s.split("")', "`split` needs a separator that is not empty"),
        ('s.replace("l")', "`replace` has other arguments"),
        ("actor.groups.lowerAscii()", "`lowerAscii` works on text only"),
        ("s.substring(9)", "`substring` needs 0 <= start <= end <= size"),
        ('b"x"', "gives bytes"),
    ],
)
def test_what_fails_to_evaluate_says_why(source: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ExpressionError) as failure:
        Expression(source).evaluate(SCOPE)
    assert words in str(failure.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "not a CEL expression"),
        ("a b", "extraneous input 'b' at column 3"),
        ("foo(1)", "calls foo(), which does not exist"),
        ("s.lowerAsci()", "calls lowerAsci(), which does not exist"),
        ('"abc', "does not end"),
        ("1 + \0", "NUL"),
        ("x" * 4097, "longer than 4096"),
        ("(" * 33 + "1" + ")" * 33, "nest deeper than 32"),
        ("[" * 2000 + "]" * 2000, "nest deeper than 32"),
        ("[1].map(a, [1].map(b, [1].map(c, 1)))", "nest too deep"),
        ('1 // "\n + size([1].map(a, [1].map(b, [1].map(c, 1)))) // "', "nest too deep"),
        (f"[1].map{' ' * 40}(a, [1].map(b, [1].map // (\n (c, 1)))", "nest too deep"),
        (f"[{'1,' * 99}1].map(a, [{'1,' * 99}1].map(b, 1))", "over too long a list"),
    ],
)
def test_what_must_not_reach_the_engine_does_not_compile(source: str, words: str) -> None:
    with pytest.raises(ExpressionError, match=words.replace("(", r"\(").replace(")", r"\)")):
        Expression(source)


@pytest.mark.parametrize(
    "source",
    [
        "!" * 4000 + "true",
        "-" * 4000 + "1",
        "1" + "+1" * 2000,
        "a" + ".b" * 2000,
        "a" + ".f()" * 1000,
        "true?1:" * 580 + "1",
        "\n" * 4000 + "1",
        "s" + ".map(x,x)" * 400,
    ],
)
def test_hostile_sources_end_quickly_and_alone(source: str) -> None:
    began = time.monotonic()
    with contextlib.suppress(ExpressionError):
        Expression(source).evaluate(SCOPE)
    assert time.monotonic() - began < 5


def test_a_short_expression_cannot_build_a_huge_text() -> None:
    growing = '"aaaaaaaaaa"' + '.replace("a", "aaaaaaaaaa")' * 8
    with pytest.raises(ExpressionError, match="more than 64 Ki"):
        Expression(growing).evaluate(SCOPE)


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("request.inputs.colour", "request.inputs.colour"),
        ('request["size"]', "request.size"),
        ('steps["data-base"].outputs.port', 'steps["data-base"].outputs.port'),
        ("${request.inputs.colour}", "request.inputs.colour"),
        ('catalog.entity("service", "cart").size', 'catalog.entity("service", "cart").size'),
        ("request.inputs.none.x", None),
        ("1 / 0", None),
    ],
)
def test_the_field_that_was_missing_is_named(source: str, missing: str | None) -> None:
    scope = Scope(**SCOPE.variables, catalog={}, functions={"entity": lambda *_: {}})
    with pytest.raises(ExpressionError) as failure:
        interpolate(source if source.startswith("$") else f"${{{source}}}", scope)
    assert failure.value.missing == missing


def entity(_: object, blueprint: str, identifier: str) -> dict[str, Any]:
    if identifier != "cart":
        raise ValueError(f"the catalog has no {blueprint} {identifier}")
    return {"title": "Cart", "scorecards": {"ready": {"rank": 2}}}


CATALOG = Scope(catalog={}, functions={"entity": entity})


def test_the_catalog_is_asked_where_there_is_one() -> None:
    assert Expression('catalog.entity("service", "cart").scorecards.ready.rank').evaluate(CATALOG) == 2


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('catalog.entity("service", "x").title', "fails: `entity`: the catalog has no service x"),
        (
            'catalog.entity("service", "cart" + "") // )\n.title.size() > 30 || '
            'catalog.entity("service", ("cart")).scorecards["production"].rank < 2',
            '`catalog.entity("service", ("cart")).scorecards["production"]` is missing; '
            'test for it with "production" in catalog.entity("service", ("cart")).scorecards',
        ),
        ('catalog.entity("service", "cart").tier', '`catalog.entity("service", "cart").tier` is missing; test for it'),
        ('catalog.entity("service")', "`entity` has other arguments"),
        ('catalog.knows("service", "cart")', "`catalog.knows` is not known here"),
    ],
)
def test_what_the_catalog_refuses_says_why(source: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ExpressionError) as failure:
        Expression(source).evaluate(CATALOG)
    assert words in failure.value.message
    assert capfd.readouterr().err == ""


def test_a_failure_behind_the_catalog_is_not_the_fault_of_the_expression(capfd: pytest.CaptureFixture[str]) -> None:
    def broken(*_: object) -> None:
        raise OSError("the database is gone")

    scope = Scope(catalog={}, functions={"knows": broken})
    with pytest.raises(OSError, match="the database is gone"):
        Expression('catalog.knows("a", "b") || true').evaluate(scope)
    assert Expression("true").holds(scope)
    assert capfd.readouterr().err == ""


def test_conditions_are_true_or_false_and_nothing_else() -> None:
    assert Expression('request.environment == "prod"').holds(SCOPE)
    with pytest.raises(ExpressionError, match="must be true or false, but is text"):
        Expression("s").holds(SCOPE)


def test_why_a_source_does_not_compile_is_told_each_time() -> None:
    for _ in range(2):
        with pytest.raises(ExpressionError, match="not a CEL expression"):
            compile_expression("1 +")


def test_a_compiled_expression_works_in_other_threads_and_scopes() -> None:
    expression = compile_expression("s + s")
    assert compile_expression("s + s") is expression
    values: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: values.append(expression.evaluate(Scope(s=str(n))))) for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(values) == [f"{n}{n}" for n in range(8)]


def test_an_expression_knows_which_variables_it_reads() -> None:
    expression = Expression('actor.groups.exists(group, group == request.inputs["team"])')
    assert expression.names() == {"actor", "request"}


def test_a_scope_refuses_what_is_not_json() -> None:
    with pytest.raises(ExpressionError, match="neither JSON nor a time"):
        compile_expression("x").evaluate(Scope(x={1, 2}))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${request.inputs.count}", 3),
        ("${ request.inputs.tags }", ["a", "b"]),
        ("${request.inputs.none}", None),
        ('${ {"a": 1}.a }', 1),
        ('${"}"}', "}"),
        ("${'}' + \"{\"}", "}{"),
        ('${"""}"}"""}', '}"}'),
        ('${r"\\"}', "\\"),
        ("$${s}", "${s}"),
        ("$${${s}", "${Hello"),
        ("$ and $$ and {}", "$ and $$ and {}"),
        ("${s}${s}", "HelloHello"),
        ("a ${request.inputs.count} ${true} ${1.5} ${2.0}", "a 3 true 1.5 2"),
        ('x ${[1, "é"]} ${{"a": null}}', 'x [1, "é"] {"a": null}'),
        ('${timestamp("2026-01-01T00:00:00Z")}', "2026-01-01T00:00:00Z"),
        ('in ${duration("90m")}', "in 1h30m"),
        ({"k${s}": [{"x": "${s}"}, 1]}, {"k${s}": [{"x": "Hello"}, 1]}),
    ],
)
def test_placeholders_are_filled(text: Any, value: Any) -> None:
    filled = interpolate(text, SCOPE)
    assert filled == value
    assert type(filled) is type(value)


@pytest.mark.parametrize(
    ("value", "pointer", "words"),
    [
        ({"a": [{"b/c": "${request.nope}"}]}, "/a/0/b~1c", "is missing"),
        ({"a": "x${request.inputs.none}"}, "/a", "is null, which can't be written into a text"),
        ({"a": "${s"}, "/a", "no closing }"),
        ({"a": "${ 'x }"}, "/a", "does not end"),
        (["${1 +}"], "/0", "not a CEL expression"),
        (["${ double('nan') }"], "/0", "no finite number"),
        (["${ {1: 2} }"], "/0", "a map key that is no text"),
    ],
)
def test_a_placeholder_that_fails_says_where(value: Any, pointer: str, words: str) -> None:
    with pytest.raises(ExpressionError) as failure:
        interpolate(value, SCOPE)
    assert failure.value.pointer == pointer
    assert words in failure.value.message


def test_placeholders_may_be_evaluated_in_another_way() -> None:
    said = interpolate(
        {"a": ["${s}", "x ${s + s}"]}, SCOPE, evaluate=lambda source, scope: f"{source}/{scope is SCOPE}"
    )
    assert said == {"a": ["s/True", "x s + s/True"]}


def test_inlined_files_are_left_alone() -> None:
    step = {"files": {"main.tf": 'name = "${var.name}"'}, "variables": {"name": "${s}"}}
    assert interpolate(step, SCOPE, verbatim=("/files",)) == {**step, "variables": {"name": "Hello"}}
    assert list(placeholders(step, verbatim=("/files",))) == [("/variables/name", "s")]


def test_placeholders_are_found_with_their_places() -> None:
    value = {"a": "${s} and ${ 1 }", "b": ["$${s}", {"c": "${s}"}]}
    assert list(placeholders(value)) == [("/a", "s"), ("/a", "1"), ("/b/1/c", "s")]


@given(st.text())
def test_a_text_written_as_a_literal_comes_back(text: str) -> None:
    assert interpolate(text.replace("${", "$${"), SCOPE) == text or "$${" in text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200))
def test_any_value_survives_a_placeholder(text: str) -> None:
    assert interpolate("${v}", Scope(v=text)) == text
    assert interpolate("<${v}>", Scope(v=text)) == f"<{text}>"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_json_goes_through_the_engine_unchanged(value: Any) -> None:
    assert json.dumps(interpolate("${v}", Scope(v=value)), sort_keys=True) == json.dumps(value, sort_keys=True)


@given(st.text(max_size=120))
def test_no_source_raises_anything_but_an_expression_error(source: str) -> None:
    with contextlib.suppress(ExpressionError):
        Expression(source).evaluate(SCOPE)
    with contextlib.suppress(ExpressionError):
        interpolate(source, SCOPE)


def test_a_process_that_evaluates_loads_nothing_for_terminals() -> None:
    program = "import sys, entresol_manifests.cell; print(*{'prompt_toolkit', 'rich', 'typer'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "\n"

"""Write results of cases as JUnit XML, as CI systems read it."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from entresol.failures import Code, Failure

if TYPE_CHECKING:
    from entresol_policy.trying.running import Report, Result

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 has no way to write, not even escaped."""


def write(path: Path, reports: Sequence["Report"]) -> None:
    """A suite for each file; a file that could not be read is one case with an error. Raise Failure."""
    root = Element("testsuites", name="entresol policy test")
    for report in reports:
        root.append(_suite(report))
    for key in ("tests", "failures", "errors"):
        root.set(key, str(sum(int(suite.get(key, "0")) for suite in root)))
    root.set("time", _seconds(sum(one.seconds for report in reports for one in report.results)))
    indent(root)
    try:
        ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise Failure(f"{path} can't be written: {error.strerror}", Code.INVALID) from None


def _suite(report: "Report") -> Element:
    name = _text(report.path)
    failures = sum(not one.passed for one in report.results)
    counts = {
        "tests": len(report.results) or 1,
        "failures": failures,
        "errors": 1 if report.faults else 0,
        "skipped": 0,
    }
    figures = {key: str(value) for key, value in counts.items()}
    suite = Element("testsuite", {"name": name, "file": name, **figures})
    suite.set("time", _seconds(sum(one.seconds for one in report.results)))
    if report.faults:
        case = SubElement(suite, "testcase", classname=_class(report.path), name="can be read", file=name, time="0")
        error = SubElement(case, "error", message=_text(report.faults[0]), type="invalid")
        error.text = _text("\n".join(report.faults))
    for one in report.results:
        case = SubElement(suite, "testcase", classname=_class(report.path), name=_text(one.case.name))
        case.attrib |= {"file": name, "line": str(one.case.line), "time": _seconds(one.seconds)}
        if not one.passed:
            lines = differences(one)
            failure = SubElement(case, "failure", message=_text(lines[0]), type="difference")
            failure.text = _text("\n".join(lines))
    return suite


def differences(result: "Result") -> list[str]:
    """What is not as expected, one line each."""
    return [f"{one.what}: expected {one.expected}, found {one.found}" for one in result.differences]


def _class(path: Path) -> str:
    """The file without its ending, with dots as classes have them."""
    parts = [
        one for one in path.with_name(path.name.rpartition(".test.")[0] or path.stem).parts if one not in ("/", "..")
    ]
    return _text(".".join(parts))


def _text(value: object) -> str:
    return _NOT_XML.sub("�", str(value))


def _seconds(value: float) -> str:
    return f"{value:.6f}"

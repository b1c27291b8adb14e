"""Let copier render a template. Run as a program in a process of its own, in a directory where `request.json` lies.

Nothing of the machine gets in: no settings of copier's, no git, no answers of anybody but those in the request.
What went wrong is written into `output/answer.json`, or which files are only made and never changed.
"""

import json
import os
import traceback
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from copier import Settings, run_copy
from copier.errors import CopierError, UnsafeTemplateError
from jinja2 import TemplateError, TemplateSyntaxError

LONGEST = 800


class Refused(Exception):
    """Why a template or an answer can't be used."""


def render(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Render into the directory `into`; return the paths that are not to be written over later."""
    into = Path(asked["into"])
    made = run_copy(
        asked["template"],
        into,
        data=dict(asked["answers"]),
        settings=Settings(),
        defaults=True,
        overwrite=True,
        quiet=True,
        unsafe=asked["trusted"],
    )
    if "migrations" in made.template.config_data:
        raise Refused("it has _migrations, which can't be run: what changed is merged into the repository instead")
    if unknown := sorted(set(asked["answers"]) - set(made.template.questions_data)):
        asks = ", ".join(sorted(made.template.questions_data)) or "nothing"
        raise Refused(f"it does not ask {unknown[0]}; it asks {asks}")
    files = [one.relative_to(into) for one in into.rglob("*") if one.is_file() or one.is_symlink()]
    return {"once": sorted(str(one) for one in files if made.match_skip(one))}


def reason(error: Exception, template: str) -> str:
    """What went wrong, and in which file and line of the template if that is known."""
    if isinstance(error, UnsafeTemplateError):
        return f"{error} The operator can allow it for this template (trusted_templates)."
    said = error.message if isinstance(error, TemplateError) and error.message else str(error)
    said = (said or type(error).__name__).replace(os.getcwd() + os.sep, "")
    if isinstance(error, TemplateSyntaxError):
        return f"{error.name or 'copier.yml'} line {error.lineno}: {said}"
    root = os.path.realpath(template) + os.sep
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename.startswith(root):
            return f"{frame.filename.removeprefix(root)} line {frame.lineno}: {said}"
    return said


def main() -> None:
    warnings.simplefilter("ignore")
    asked = json.loads(Path("request.json").read_text())
    try:
        answer = render(asked)
    except (CopierError, TemplateError, Refused, ArithmeticError, LookupError, OSError, TypeError, ValueError) as error:
        answer = {"error": reason(error, asked["template"])[:LONGEST]}
    except (RecursionError, AssertionError, AttributeError) as error:
        answer = {"error": f"its copier.yml or a file of it makes no sense to copier ({type(error).__name__})"}
    Path("output/answer.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main()

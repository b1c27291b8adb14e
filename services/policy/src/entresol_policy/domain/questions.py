"""The question that a request brings along: somebody has to say yes before it may begin, whatever the policies say.

It is asked as by a policy of its own, which nobody has applied, changes, or waives. Who is asked was settled when the
request was made: nothing in it is an expression.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Final

from entresol_policy.domain.judging import Ask, Judgement, Verdict, Wanted

NAME: Final = "question"
BUILT_IN: Final = "built-in"
"""In place of a digest: the version of the policy that asks. No manifest has it."""
WITHIN: Final = timedelta(hours=72)


def with_question(judgement: Judgement, who: Sequence[str], because: str) -> Judgement:
    """The judgement, and that these are asked too."""
    asked = Ask(tuple(dict.fromkeys(who)), within=WITHIN)
    verdict = Verdict(NAME, BUILT_IN, 0, "approve", "enforce", True, because)
    return replace(
        judgement,
        verdicts=(*judgement.verdicts, verdict),
        wanted=(*judgement.wanted, Wanted(NAME, asked, because)),
    )

"""What drivers take is known before anything runs: shown to who writes offerings, and held against what they write."""

from pathlib import Path

from tests.e2e.people import Town

OFFERING = """\
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: bead, version: 1.0.0}
spec:
  inputs: {type: object, additionalProperties: false, properties: {size: {type: integer, default: 1}}}
  actions:
    create:
      steps:
        - name: files
          driver: gitops
          with:
            repository: beads
            create: yes please
            pth: somewhere
            branch: "${inputs.size}"
            files: {a: x}
        - name: last
          driver: nop
          needs: [files]
  outputs: {at: "${steps.files.outputs.comit}"}
"""


def test_a_wrong_step_is_refused_where_it_stands_and_nothing_is_applied(place: Town, tmp_path: Path) -> None:
    file = tmp_path / "bead.yaml"
    file.write_text(OFFERING)
    refusal = place.admin.fails("apply", str(file))
    for line, text in (
        (13, "with.create must be true or false"),
        (14, "with.pth unknown field pth; did you mean path?"),
        (15, "with.branch must be text, but ${inputs.size} is a whole number"),
        (18, "driver there is no driver nop; there are exec, gitops, http, kubernetes, noop, scaffold, terraform"),
        (20, "reads output comit of step files"),
    ):
        assert f"bead.yaml:{line}:" in refusal, refusal
        assert text.partition(" ")[2] in " ".join(refusal.split()), refusal
    assert not [one for one in place.admin.reads("offering", "list") if one["name"] == "bead"]


def test_who_writes_an_offering_is_shown_what_a_driver_takes(place: Town) -> None:
    listed = place.admin.does("driver", "list")
    assert all(name in listed for name in ("exec", "gitops", "http", "kubernetes", "noop", "scaffold", "terraform"))
    shown = place.admin.does("driver", "show", "gitops")
    assert "exactly one of destination and repository" in shown
    assert "commit or branch: Whether it is committed at once" in shown
    http = place.admin.reads("driver", "show", "http")
    assert http["settings"]["required"] == ["apply"]
    refusal = place.admin.fails("driver", "show", "gitpos")
    assert "no driver gitpos" in refusal
    assert "gitops" in refusal

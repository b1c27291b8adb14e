"""Folders that steps name become part of the manifest, and nothing outside of them ever does."""

from pathlib import Path

import pytest
from entresol_manifests.checking import check
from entresol_manifests.reading import Manifest, ManifestError, read

OFFERING = """\
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: bucket, version: 1.0.0}
spec:
  actions:
    create:
      steps:
        - name: commit
          driver: gitops
          with:
            destination: environments
            template: templates/bucket
        - name: module
          driver: terraform
          with: {module: modules/bucket, variables: {name: "${request.name}"}}
        - name: other
          driver: http
          with: {template: left alone}
"""


@pytest.fixture
def platform(tmp_path: Path) -> Path:
    root = tmp_path / "platform"
    for name, text in {
        "bucket.yaml": OFFERING,
        "templates/bucket/a.yaml.j2": "name: {{ request.name }\n: not YAML",
        "templates/bucket/.github/b.yaml": "[",
        "templates/bucket/.git/config": "canary",
        "modules/bucket/main.tf": 'output "x" { value = "${var.name}" }',
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def only(root: Path) -> Manifest:
    (manifest,) = read([root])
    return manifest


def test_folders_are_inlined_and_not_read_as_manifests(platform: Path) -> None:
    manifest = only(platform)
    steps = manifest.document["spec"]["actions"]["create"]["steps"]
    assert steps[0]["with"] == {
        "destination": "environments",
        "files": {"a.yaml": "name: {{ request.name }\n: not YAML", ".github/b.yaml": "["},
    }
    assert steps[1]["with"]["files"] == {"main.tf": 'output "x" { value = "${var.name}" }'}
    assert steps[2]["with"] == {"template": "left alone"}
    assert check(manifest.document) == []
    assert manifest.line_of("/spec/actions/create/steps/0/with/files/a.yaml") == 12
    assert manifest.line_of("/spec/actions/create/steps/1/with/files") == 15


def test_one_file_can_be_read_alone(platform: Path) -> None:
    assert read([platform / "bucket.yaml"])[0].document == only(platform).document


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("templates/bucket", "templates/nothing", "there is no folder templates/nothing"),
        ("templates/bucket", "../outside", "leads outside"),
        ("templates/bucket", "/etc", "leads outside"),
        ("templates/bucket", '"${inputs.kind}"', "can't name one"),
        ("templates/bucket", "[]", "must be the name of a folder"),
        ("template: templates", "files: {}\n            template: templates", "gives both template and files"),
        ("templates/bucket", "empty", "holds no files"),
    ],
)
def test_a_folder_that_can_not_be_inlined_says_where(platform: Path, old: str, new: str, words: str) -> None:
    (platform.parent / "outside").mkdir()
    (platform / "empty").mkdir()
    (platform / "bucket.yaml").write_text(OFFERING.replace(old, new, 1))
    with pytest.raises(ManifestError, match=words) as failure:
        read([platform / "bucket.yaml"])
    assert failure.value.line in (12, 13)


def test_a_folder_holds_text_within_limits(platform: Path) -> None:
    folder = platform / "templates" / "bucket"
    for content, words in (
        (b"\xff\xfe", "is not UTF-8 text"),
        (b"a\0b", "holds a NUL"),
        (b"x" * 300_000, "more than 200 KiB"),
    ):
        (folder / "odd").write_bytes(content)
        with pytest.raises(ManifestError, match=words):
            read([platform])
    (folder / "odd").unlink()
    (folder / "a.yaml").write_text("twice")
    with pytest.raises(ManifestError, match=r"with and without \.j2"):
        read([platform])


def test_folders_of_one_manifest_share_the_limit(platform: Path) -> None:
    for folder in ("templates", "modules"):
        (platform / folder / "bucket" / "large").write_text("x" * 120 * 1024)
    with pytest.raises(ManifestError, match="more than 200 KiB"):
        read([platform])


@pytest.mark.parametrize("target", ["secret", "secrets", "../../../../secret"])
def test_a_link_never_leads_out_of_a_folder(platform: Path, target: str) -> None:
    (platform.parent / "secret").write_text("canary")
    (platform.parent / "secrets").mkdir()
    (platform.parent / "secrets" / "key").write_text("canary")
    link = platform / "templates" / "bucket" / "link"
    link.symlink_to(target if target.startswith("..") else platform.parent / target)
    with pytest.raises(ManifestError) as failure:
        read([platform])
    assert "canary" not in str(failure.value)


def test_a_named_folder_that_is_a_link_out_is_refused(platform: Path) -> None:
    (platform.parent / "secrets").mkdir()
    (platform.parent / "secrets" / "key").write_text("canary")
    (platform / "templates" / "link").symlink_to(platform.parent / "secrets")
    (platform / "bucket.yaml").write_text(OFFERING.replace("templates/bucket", "templates/link"))
    with pytest.raises(ManifestError, match="leads outside"):
        read([platform / "bucket.yaml"])


def test_folders_of_implementations_and_compensations_are_inlined_too(platform: Path) -> None:
    (platform / "bucket.yaml").write_text("""\
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: bucket, version: 1.0.0}
spec:
  actions:
    create:
      steps:
        - name: commit
          driver: noop
          compensate: {driver: gitops, with: {destination: a, template: templates/bucket}}
  implementations:
    - name: cloud
      match: {class: [cloud]}
      actions: {create: {steps: [{name: commit, driver: terraform, with: {module: modules/bucket}}]}}
""")
    document = only(platform).document
    (step,) = document["spec"]["actions"]["create"]["steps"]
    assert set(step["compensate"]["with"]["files"]) == {"a.yaml", ".github/b.yaml"}
    (other,) = document["spec"]["implementations"][0]["actions"]["create"]["steps"]
    assert set(other["with"]) == {"files"}
    assert check(document) == []

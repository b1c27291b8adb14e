"""What a service's program says about itself."""

import sys

import pytest
from entresol_eventing import run
from entresol_eventing.settings import RuntimeSettings


@pytest.mark.parametrize("wish", ["-h", "--help"])
def test_who_asks_for_help_is_told_every_setting_and_nothing_runs(
    wish: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["entresol-clock", wish])
    run.main(lambda *_: pytest.fail("it runs"), RuntimeSettings)
    said = capsys.readouterr().out
    assert all(f"  {name.upper()}" in said for name in RuntimeSettings.model_fields)
    assert "NATS_URL (default: nats://127.0.0.1:4222)\n      The bus; several servers" in said

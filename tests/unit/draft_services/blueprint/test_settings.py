"""Settings that cannot work are refused at the start, with words and without the secret."""

from __future__ import annotations

from pathlib import Path

import pytest
from draft_services.blueprint.settings import Settings
from pydantic import ValidationError


def test_a_process_cannot_be_gone_before_it_is_silent() -> None:
    with pytest.raises(ValidationError, match=r"gone \(5 s\) must be longer than silent \(15 s\)"):
        Settings(gone=5)


def test_the_nonce_is_a_file_or_any(tmp_path: Path) -> None:
    assert Settings().read_nonce() is None
    with pytest.raises(ValidationError, match='must be "any" or the file'):
        Settings(nonce=str(tmp_path / "absent"))
    file = tmp_path / "nonce"
    file.write_text(" secret\n")
    settings = Settings(nonce=str(file))
    assert settings.read_nonce() == "secret"
    assert "secret" not in repr(settings)


def test_every_limit_is_in_the_docs() -> None:
    text = Path("docs/operations.md").read_text()
    limits = [name for name in Settings.model_fields if name.startswith("max_")]
    assert limits
    assert [name for name in limits if f"| `{name}` |" not in text] == []

"""Settings: from the environment, checked, and all of them documented."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from serving.settings import PREFIX, Settings, unknown_variables

HASH = "a" * 64


def settings() -> Settings:
    return Settings()


def test_without_any_variable_the_production_model_of_the_local_registry_is_served() -> None:
    assert settings().model == "models:/emotion@production"
    assert settings().host == "127.0.0.1"
    assert settings().keep_images == 0


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_PORT", "9000")
    monkeypatch.setenv("MIEN_API_KEYS", f"app:predict:{HASH}, ops:admin:{HASH},anna:label:{HASH}")
    monkeypatch.setenv("MIEN_CORS_ORIGINS", "https://a.example,https://b.example")
    assert settings().port == 9000
    assert settings().api_keys == (f"app:predict:{HASH}", f"ops:admin:{HASH}", f"anna:label:{HASH}")
    assert settings().cors_origins == ("https://a.example", "https://b.example")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MIEN_PORT", "high"),
        ("MIEN_TIMEOUT_S", "0"),
        ("MIEN_KEEP_IMAGES", "1.5"),
        ("MIEN_LABELS_NEEDED", "0"),
        ("MIEN_API_KEYS", "secret"),
        ("MIEN_API_KEYS", f"app:root:{HASH}"),
        ("MIEN_API_KEYS", f"app:predict:{HASH},app:admin:{HASH}"),
    ],
)
def test_values_out_of_range_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError):
        settings()


def test_a_key_that_was_not_hashed_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_API_KEYS", "topsecret")
    with pytest.raises(ValidationError) as error:
        settings()
    assert "topsecret" not in str(error.value)


def test_a_misspelt_variable_is_reported() -> None:
    assert unknown_variables({"MIEN_MODLE": "x", "MIEN_MODEL": "x", "HOME": "x"}) == ["MIEN_MODLE"]


def test_every_field_has_its_docstring() -> None:
    assert not [name for name, field in Settings.model_fields.items() if not field.description]


def test_the_guide_has_exactly_these_settings_with_their_defaults_and_texts(repository: Path) -> None:
    guide = (repository / "docs" / "service-settings.md").read_text()
    rows = dict(re.findall(r"^\| `(MIEN_\w+)` (\|.*\|)$", guide, re.MULTILINE))
    expected = {
        PREFIX + name.upper(): f"| {shown(field.default)} | {field.description} |"
        for name, field in Settings.model_fields.items()
    }
    assert rows == expected


def shown(default: object) -> str:
    """As the guide shows a default."""
    if default is None or default == ():
        return "–"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"

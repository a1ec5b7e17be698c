from __future__ import annotations

import pytest

from serving.errors.operation import StoreUrlInvalid
from serving.observations.store import Store


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("", id="empty"),
        pytest.param("observations.db", id="path"),
        pytest.param("mysql://root:secret@host/db", id="other database"),
        pytest.param("sqlite://", id="memory"),
        pytest.param("sqlite:///:memory:", id="named memory"),
    ],
)
def test_another_url_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(StoreUrlInvalid, match="expected sqlite:///PATH or postgresql://") as refused:
        Store(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_the_password_is_never_shown(scheme: str) -> None:
    assert Store(f"{scheme}://mien:secret@db/mien").url == "postgresql+psycopg://mien:***@db/mien"

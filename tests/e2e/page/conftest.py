"""One service and one browser for each file of tests.

Not for all files: while Playwright's synchronous interface is open its event loop counts as running, and
tests that start one of their own could not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.browser import Visit, chromium, visiting
from tests.support.http_service import ready, serving, settings_in
from tests.support.page_model import page_model

Visiting = Callable[..., AbstractContextManager[Visit]]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(tmp_path_factory.mktemp("camera")) as browser:
        yield browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the service."""
    folder = tmp_path_factory.mktemp("page")
    page_model(folder / "model")
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """A running service whose model is one of drawn faces."""
    with serving(settings_in(folder)) as client:
        ready(client)
        yield str(client.base_url)


@pytest.fixture
def visit(browser: Browser, address: str) -> Visiting:
    """Opens windows on the service: `with visit(color_scheme="dark") as visitor`."""
    return partial(visiting, browser, address)

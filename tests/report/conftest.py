"""One browser for all tests of pages."""

from collections.abc import Iterator

import pytest

from tests.browser import CHROMIUM, Browser, browser


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no chromium; apt-get install chromium")
    with browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened

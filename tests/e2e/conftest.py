"""Fixtures of the end-to-end tests; what they hand out stands in harness.py."""

import os
import shutil

import pytest

from harness import House


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call":
        item.failed = report.failed


@pytest.fixture
def house(request):
    """A bus, a broker and the tools around them, all of it the test's own."""
    house = House()
    try:
        yield house
        complaints = house.close()
    except BaseException:
        house.close()
        raise
    if complaints or getattr(request.node, "failed", False):
        print(house.logs())
    if not os.environ.get("E2E_KEEP"):
        shutil.rmtree(house.dir, ignore_errors=True)
    assert not complaints, "\n".join(complaints)

"""Fixtures of the end-to-end tests; what they hand out stands in harness.py."""

import contextlib
import os
import shutil

import pytest

from harness import House


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "call" and report.failed:
        item.failed = item.getparent(pytest.Module).failed = True


@contextlib.contextmanager
def opened_house(node):
    house = House()
    try:
        yield house
        complaints = house.close()
    except BaseException:
        house.close()
        raise
    if complaints or getattr(node, "failed", False):
        print(house.logs())
    if not os.environ.get("E2E_KEEP"):
        shutil.rmtree(house.dir, ignore_errors=True)
    assert not complaints, "\n".join(complaints)


@pytest.fixture
def house(request):
    """A bus, a broker and the tools around them, all of it the test's own."""
    with opened_house(request.node) as house:
        yield house


@pytest.fixture(scope="module")
def shared_house(request):
    """The same for all tests of a module, one after the other. They bear the mark xdist_group."""
    with opened_house(request.node) as house:
        yield house

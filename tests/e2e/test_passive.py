"""Passive scanning: with what bluetoothd --experimental offers, and where it offers nothing."""

import pytest

from harness import SLACK
from world import (AVAILABILITY, METER, OTHER_AVAILABILITY, STREAM, peripherals, settings)


def passive(house, experimental):
    broker = house.broker()
    recorder = house.recorder(broker.port)
    simulator = house.simulate(dict(peripherals(), experimental=experimental))
    config = settings(broker.port)
    config["bluetooth"] = {"scan": "passive"}
    gateway = house.gateway(config)
    recorder.wait(AVAILABILITY, "online", timeout=15 * SLACK)
    recorder.wait(OTHER_AVAILABILITY, "online", timeout=15 * SLACK)
    return recorder, simulator, gateway


@pytest.mark.parametrize("experimental", [True, False], ids=["monitors", "no-monitors"])
def test_a_passive_scan_finds_and_finds_again(house, experimental):
    recorder, simulator, gateway = passive(house, experimental)
    told = "scans actively: BlueZ offers no passive scan" in gateway.process.text()
    assert told == (not experimental)
    since = recorder.mark()
    simulator.ask(f"vanish {METER}")
    recorder.wait(AVAILABILITY, "offline", since, 2 * SLACK)
    simulator.ask(f"appear {METER}")
    recorder.wait(AVAILABILITY, "online", since, 10 * SLACK)
    simulator.ask(f"notify {METER} stream 3 50")
    assert len(recorder.wait_count(STREAM, 3, since, 5 * SLACK)) == 3


def test_a_passive_scan_outlives_bluetoothd(house):
    recorder, simulator, _ = passive(house, True)
    since = recorder.mark()
    simulator.kill()
    recorder.wait(AVAILABILITY, "offline", since, 2 * SLACK)
    simulator.start()
    recorder.wait(AVAILABILITY, "online", since, 20 * SLACK)
    recorder.wait(OTHER_AVAILABILITY, "online", since, 20 * SLACK)

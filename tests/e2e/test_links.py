"""Links that break, peripherals that go, bluetoothd and adapters that come and go."""

import time

import pytest

from harness import SLACK, variant, wait_until
from world import (ADDRESS, AVAILABILITY, LINK, METER, OTHER_AVAILABILITY, STREAM, Live,
                   peripherals, settings, topic, uuid)

SOON = 1 * SLACK


@pytest.fixture
def live(house):
    return Live(house)


@pytest.mark.parametrize("reason", ["0x08", "0x13"], ids=["supervision-timeout", "by-peripheral"])
def test_a_lost_link_is_offline_within_a_second_and_comes_back_subscribed(live, reason):
    since = live.recorder.mark()
    live.simulator.ask(f"drop {METER} {reason}")
    live.recorder.wait(AVAILABILITY, "offline", since, SOON)
    live.recorder.wait(AVAILABILITY, "online", since, 10 * SLACK)
    live.works(since, 5 * SLACK)
    assert live.recorder.on(OTHER_AVAILABILITY, since) == []


def test_a_peripheral_absent_for_ten_seconds_is_back_within_ten(live):
    since = live.recorder.mark()
    live.simulator.ask(f"vanish {METER}")
    live.recorder.wait(AVAILABILITY, "offline", since, SOON)
    time.sleep(10)  # how long it is away; nothing is waited for
    assert [each.text for each in live.recorder.on(AVAILABILITY, since)] == ["offline"]
    live.simulator.ask(f"appear {METER}")
    live.recorder.wait(AVAILABILITY, "online", since, 10)
    live.works(since, 5 * SLACK)


def test_an_absent_peripheral_says_why_it_is_offline(live):
    since = live.recorder.mark()
    live.simulator.ask(f"vanish {METER}")
    link = live.recorder.wait(LINK, lambda m: m.json["state"] != "online", since, 5 * SLACK)
    assert link.json["reason"]
    assert len(link.json["why"]) > 10


def test_a_peripheral_that_refuses_is_tried_until_it_no_longer_does(live):
    since = live.recorder.mark()
    live.simulator.ask(f"refuse {METER} on")
    live.simulator.ask(f"drop {METER}")
    live.recorder.wait(AVAILABILITY, "offline", since, SOON)
    live.recorder.wait(LINK, lambda m: m.json.get("attempts", 0) >= 2, since, 20 * SLACK)
    live.simulator.ask(f"refuse {METER} off")
    live.recorder.wait(AVAILABILITY, "online", since, 20 * SLACK)
    live.works(since, 5 * SLACK)


def test_a_slow_peripheral_delays_nobody_else(live):
    live.simulator.ask("slow other 4000")
    live.recorder.publish(topic("other", "battery", "get"), "")
    began = time.monotonic()
    assert live.set("setting", "7", timeout=3 * SLACK)["status"] == "ok"
    assert time.monotonic() - began < 3 * SLACK
    live.simulator.ask("slow other 0")


def test_bluetoothd_may_die_and_come_back(live):
    since = live.recorder.mark()
    live.simulator.kill()
    live.recorder.wait(AVAILABILITY, "offline", since, SOON)
    live.recorder.wait(OTHER_AVAILABILITY, "offline", since, SOON)
    live.simulator.start()
    live.recorder.wait(AVAILABILITY, "online", since, 20 * SLACK)
    live.recorder.wait(OTHER_AVAILABILITY, "online", since, 20 * SLACK)
    live.works(since, 5 * SLACK)


def test_the_bus_may_die_and_come_back(live):
    since = live.recorder.mark()
    live.house.bus.kill()
    live.recorder.wait(AVAILABILITY, "offline", since, SOON)
    live.simulator.kill()
    live.house.bus.start()
    live.simulator.start()
    live.recorder.wait(AVAILABILITY, "online", since, 30 * SLACK)
    live.works(since, 5 * SLACK)


@pytest.mark.parametrize("away, back", [("remove", "add"), ("off", "on")])
def test_the_adapter_may_go_and_come_back(live, away, back):
    since = live.recorder.mark()
    live.simulator.ask(f"adapter hci0 {away}")
    live.recorder.wait(AVAILABILITY, "offline", since, SOON)
    live.recorder.wait(OTHER_AVAILABILITY, "offline", since, SOON)
    live.simulator.ask(f"adapter hci0 {back}")
    live.recorder.wait(AVAILABILITY, "online", since, 30 * SLACK)
    live.recorder.wait(OTHER_AVAILABILITY, "online", since, 30 * SLACK)
    live.works(since, 5 * SLACK)


def test_notifications_go_on_in_order_after_a_lost_link(live):
    live.simulator.ask(f"notify {METER} stream 20 100")
    live.recorder.wait_count(STREAM, 20, timeout=5 * SLACK)
    since = live.recorder.mark()
    live.simulator.ask(f"drop {METER}")
    live.recorder.wait(AVAILABILITY, "online", since, 10 * SLACK)
    wait_until(lambda: live.simulator.connected(METER), 5 * SLACK, "the link is back")
    live.simulator.ask(f"notify {METER} stream 20 100")
    messages = live.recorder.wait_count(STREAM, 40, timeout=5 * SLACK)
    assert [each.json["value"] for each in messages] == list(range(1, 41))


@variant
@pytest.mark.parametrize("match", [{"service": uuid(1)}, {"name": "Met*"},
                                   {"name": "Meter", "min_rssi": -70}], ids=str)
def test_a_peripheral_is_found_by_what_it_advertises(house, match):
    broker = house.broker()
    recorder = house.recorder(broker.port)
    house.simulate(peripherals())
    config = settings(broker.port)
    config["devices"][METER]["match"] = match
    house.gateway(config)
    # the strongest of those that fit within 10 s is taken
    recorder.wait(AVAILABILITY, "online", timeout=10 + 10 * SLACK)
    link = recorder.wait(LINK, lambda m: m.json["state"] == "online")
    assert link.json["address"] == ADDRESS


@variant
def test_a_peripheral_too_weak_is_left_alone(house):
    broker = house.broker()
    recorder = house.recorder(broker.port)
    simulator = house.simulate(peripherals())
    config = settings(broker.port)
    config["devices"][METER]["match"] = {"name": "Meter", "min_rssi": -50}
    house.gateway(config)
    recorder.wait(OTHER_AVAILABILITY, "online", timeout=15 * SLACK)
    time.sleep(11)  # longer than the gateway takes to choose; nothing may happen
    assert not simulator.connected(METER)
    assert {each.text for each in recorder.on(AVAILABILITY)} == {"offline"}

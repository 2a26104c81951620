"""Several adapters: who connects what, unplugging, other names, rfkill."""

from harness import SLACK
from world import AVAILABILITY, BASE, GATEWAY, LINK, METER, STREAM, peripherals, settings

FIRST = "00:1A:7D:00:00:01"
SECOND = "00:1A:7D:00:00:02"
EVENT = f"{BASE}/bridge/{GATEWAY}/event"


def two_adapters(house, **adapters):
    world = dict(peripherals(), adapters={"hci0": {"address": FIRST}, "hci1": {"address": SECOND}})
    for name, keys in adapters.items():
        world["adapters"][name].update(keys)
    broker = house.broker()
    recorder = house.recorder(broker.port)
    simulator = house.simulate(world)
    config = settings(broker.port)
    config["bluetooth"] = {"adapters": [FIRST, SECOND]}
    return recorder, simulator, config


def adapter_of(recorder, since=0):
    """The adapter by which the meter is online."""
    recorder.wait(AVAILABILITY, "online", since, 20 * SLACK)
    return recorder.wait(LINK, lambda m: m.json["state"] == "online", since, 5 * SLACK).json["adapter"]


def works(recorder, simulator, since):
    simulator.ask(f"notify {METER} stream 3 50")
    assert len(recorder.wait_count(STREAM, 3, since, 5 * SLACK)) == 3


def test_a_device_moves_when_its_adapter_is_unplugged_and_back(house):
    recorder, simulator, config = two_adapters(house)
    house.gateway(config)
    first = adapter_of(recorder)
    other = {"hci0": "hci1", "hci1": "hci0"}[first]
    since = recorder.mark()
    simulator.ask(f"adapter {first} remove")
    recorder.wait(AVAILABILITY, "offline", since, 2 * SLACK)
    assert adapter_of(recorder, since) == other
    works(recorder, simulator, since)
    since = recorder.mark()
    simulator.ask(f"adapter {first} add hci5")
    recorder.wait(EVENT, lambda m: m.json.get("adapter") == "hci5", since, 5 * SLACK)
    simulator.ask(f"adapter {other} pull")
    recorder.wait(AVAILABILITY, "offline", since, 2 * SLACK)
    assert adapter_of(recorder, since) == "hci5"
    works(recorder, simulator, since)


def test_a_device_waits_for_its_own_adapter_and_says_which(house):
    recorder, simulator, config = two_adapters(house)
    config["devices"][METER]["adapter"] = SECOND
    house.gateway(config)
    assert adapter_of(recorder) == "hci1"
    since = recorder.mark()
    simulator.ask("adapter hci1 remove")
    link = recorder.wait(LINK, lambda m: m.json["reason"] == "no_adapter", since, 5 * SLACK)
    assert SECOND in link.json["why"]
    simulator.ask("adapter hci1 add hci9")
    assert adapter_of(recorder, since) == "hci9"


def test_rfkill_is_said_when_no_other_adapter_works(house):
    recorder, simulator, config = two_adapters(house, hci0={"powered": False, "faults": ["rfkill"]})
    gateway = house.gateway(config)
    assert adapter_of(recorder) == "hci1"
    assert "hci0 cannot be switched on: Blocked through rfkill" in gateway.process.text()
    since = recorder.mark()
    simulator.ask("fault hci1 rfkill on")
    link = recorder.wait(LINK, lambda m: "hci0 is blocked by rfkill" in m.json["why"], since,
                         5 * SLACK)
    assert "hci1" in link.json["why"]
    simulator.ask("fault hci1 rfkill off")
    assert adapter_of(recorder, since) == "hci1"

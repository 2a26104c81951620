"""Two gateways with one file and one broker, each with a Bluetooth of its own that hears the same ten
peripherals; and what leaves the file leaves the broker."""

import os
import re
import signal

import pytest

from harness import SLACK, House, wait_until
from world import AVAILABILITY, METER, OTHER_AVAILABILITY, Live, settings, topic, uuid

N = 10
NAMES = [f"d{n}" for n in range(N)]
TAKEN_OVER = 20 + 20 * SLACK  # the grace, and ten links one after the other
RECEIVED = re.compile(r"Received PUBLISH from gatt2mqtt-(\w+) \(.*?, '([^']+)',")


def world():
    return {"peripherals": {name: {
        "address": f"C8:00:00:00:20:{n:02X}",
        "address_type": "random",
        "interval": "100ms",
        "advertise": {"services": [uuid(1)]},
        "services": [{"uuid": uuid(1), "characteristics": [
            {"id": "level", "uuid": uuid(0x10), "properties": ["notify"], "value": "00000000"},
            {"id": "lamp", "uuid": uuid(0x12), "properties": ["write"], "value": "00"},
        ]}],
    } for n, name in enumerate(NAMES)}}


def config(port, gateway, **bound):
    return {
        "mqtt": {"url": f"mqtt://127.0.0.1:{port}"},
        "gateway": {"id": gateway},
        "bluetooth": {"connections": N},
        "devices": {name: dict({
            "match": {"address": f"C8:00:00:00:20:{n:02X}"},
            "characteristics": {
                "level": {"uuid": uuid(0x10), "subscribe": True,
                          "fields": {"value": {"type": "uint32"}}},
                "lamp": {"uuid": uuid(0x12), "writable": True,
                         "fields": {"value": {"type": "uint8"}}},
            },
        }, **({"gateway": bound[name]} if name in bound else {}))
            for n, name in enumerate(NAMES)},
    }


class Site:
    """A gateway and its Bluetooth."""

    def __init__(self, house, port, name, **bound):
        self.name = name
        self.simulator = house.simulate(world())
        self.gateway = house.gateway(config(port, name, **bound))

    def linked(self):
        return {name for name in NAMES if self.simulator.connected(name)}

    def kill(self):
        """kill -9; with it in the same moment the links, that no second one can have meanwhile."""
        self.gateway.kill()
        for name in self.linked():
            self.simulator.ask(f"drop {name}")


class Shared:
    def __init__(self, house, other, **bound):
        self.broker = house.broker()
        self.recorder = house.recorder(self.broker.port)
        self.garage = Site(house, self.broker.port, "garage", **bound)
        self.houses = (house, other)
        self.bound = bound
        self.attic = None

    def start_attic(self):
        self.attic = Site(self.houses[1], self.broker.port, "attic", **self.bound)

    def wait(self, predicate, timeout, what):
        """Waits, and looks all the time that nobody is connected to twice."""

        def look():
            twice = self.garage.linked() & self.attic.linked() if self.attic else None
            assert not twice, f"both are connected to {twice}"
            return predicate()

        wait_until(look, timeout, what)

    def holds(self, site, names=NAMES, since=0):
        """It has all of these, and they are online."""
        for name in names:
            links = self.recorder.on(topic(name, "status/link"), since)
            online = self.recorder.on(topic(name, "status/availability"), since)
            if not links or links[-1].json["gateway"] != site.name or \
                    links[-1].json["state"] != "online" or not online or online[-1].text != "online":
                return False
        return True

    def leaves_alone(self, site, holder, names=NAMES, since=0):
        """It has said that the other one has all of these."""
        lists = self.recorder.on(topic("bridge", site.name, "devices"), since)
        said = {each["id"]: each for each in lists[-1].json["devices"]} if lists else {}
        return all(name in said and said[name]["held_by"] == holder.name and
                   said[name]["topics"] == [] for name in names)

    def command_everybody(self, site, value):
        """Each is asked once, carries it out once, and answers once."""
        since = self.recorder.mark()
        for name in NAMES:
            self.recorder.publish(topic(name, "lamp/set"), str(value))
        for name in NAMES:
            result = self.recorder.wait(topic(name, "lamp/result"), since=since,
                                        timeout=15 * SLACK)
            assert result.json["status"] == "ok"
        for name in NAMES:
            assert len(self.recorder.on(topic(name, "lamp/result"), since)) == 1
            assert site.simulator.ask(f"writes {name} lamp") == f"request:{value:02x}"
            other = self.attic if site is self.garage else self.garage
            if other is not None:
                assert other.simulator.ask(f"writes {name} lamp") == ""

    def publishers(self):
        """Who published what is said of each device, in the broker's order; without repetition."""
        found = {}
        with open(os.path.join(self.broker.directory, "mosquitto.messages")) as log:
            for line in log:
                match = RECEIVED.search(line)
                parts = match[2].split("/") if match else []
                if len(parts) < 3 or parts[1] not in NAMES or parts[-1] in ("link", "result"):
                    continue
                turns = found.setdefault(parts[1], [])
                if not turns or turns[-1] != match[1]:
                    turns.append(match[1])
        return found


@pytest.fixture
def other_house(house):
    """Where the second gateway lives."""
    other = House()
    yield other
    failed = other.logs()
    complaints = other.close()
    if complaints:
        print(failed)
    assert not complaints, "\n".join(complaints)


@pytest.mark.timeout(600)
def test_ten_devices_are_shared_through_kill_9_and_sigterm(house, other_house):
    shared = Shared(house, other_house)
    garage = shared.garage
    shared.wait(lambda: shared.holds(garage), TAKEN_OVER, "the first one has all devices")
    shared.start_attic()
    attic = shared.attic
    shared.wait(lambda: shared.leaves_alone(attic, garage), 15 * SLACK, "the second one says so")
    shared.recorder.wait(topic("bridge/attic/status"), "online", timeout=10 * SLACK)
    shared.command_everybody(garage, 1)

    since = shared.recorder.mark()
    garage.kill()
    shared.wait(lambda: shared.holds(attic, since=since), TAKEN_OVER, "the second one has them")
    shared.command_everybody(attic, 2)

    since = shared.recorder.mark()
    garage.gateway.start()
    shared.wait(lambda: shared.leaves_alone(garage, attic, since=since), 15 * SLACK,
                "the first one is back and leaves them alone")
    shared.command_everybody(attic, 3)

    since = shared.recorder.mark()
    attic.kill()
    shared.wait(lambda: shared.holds(garage, since=since), TAKEN_OVER, "the first one has them")
    since = shared.recorder.mark()
    attic.gateway.start()
    shared.wait(lambda: shared.leaves_alone(attic, garage, since=since), 15 * SLACK,
                "the second one is back")

    since = shared.recorder.mark()
    assert garage.gateway.stop() < 2 * SLACK
    wait_until(lambda: not garage.linked(), 10 * SLACK, "the first one lets its links go")
    shared.wait(lambda: shared.holds(attic, since=since), TAKEN_OVER, "the second one has them")
    since = shared.recorder.mark()
    garage.gateway.start()
    shared.wait(lambda: shared.leaves_alone(garage, attic, since=since), 15 * SLACK,
                "the first one is back again")
    shared.command_everybody(attic, 4)
    for name in NAMES:
        attic.simulator.ask(f"notify {name} level 5 50")
    for name in NAMES:
        assert len(shared.recorder.wait_count(topic(name, "level"), 5, since, 10 * SLACK)) == 5

    for name, turns in shared.publishers().items():
        assert turns == ["garage", "attic", "garage", "attic"], name


@pytest.mark.timeout(300)
def test_a_file_may_give_each_gateway_its_own(house, other_house):
    mine = {name: "garage" if n % 2 else "attic" for n, name in enumerate(NAMES)}
    garages = [name for name in NAMES if mine[name] == "garage"]
    attics = [name for name in NAMES if mine[name] == "attic"]
    shared = Shared(house, other_house, **mine)
    shared.wait(lambda: shared.holds(shared.garage, garages), TAKEN_OVER, "the first has its own")
    shared.start_attic()
    shared.wait(lambda: shared.holds(shared.attic, attics), TAKEN_OVER, "the second has its own")
    assert shared.leaves_alone(shared.garage, shared.attic, attics)
    assert shared.leaves_alone(shared.attic, shared.garage, garages)
    assert shared.garage.linked() == set(garages)
    since = shared.recorder.mark()
    shared.attic.kill()
    shared.recorder.wait(topic("bridge/attic/status"), "offline", since, 10 * SLACK)
    assert shared.garage.linked() == set(garages)  # a grace later, too: see tests/unit/test_claim.c


# ---- what leaves the file ----

def kept(house, port):
    """The topics of devices that the broker has retained messages on."""
    recorder = house.recorder(port)
    recorder.publish("end", "")  # comes behind them
    recorder.wait("end", timeout=10 * SLACK)
    recorder.close()
    return {each.topic for each in recorder.messages if each.retain and
            not each.topic.startswith(topic("bridge/"))}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["stopped", "killed"])
def test_what_left_the_file_while_it_did_not_run_leaves_the_broker(house, number):
    live = Live(house)
    live.works(0, 10 * SLACK)
    live.simulator.ask("notify other battery 1 10")
    live.recorder.wait(topic("other/battery"), timeout=10 * SLACK)
    live.gateway.process.end(number)
    before = kept(house, live.broker.port)
    assert {topic("other/battery"), OTHER_AVAILABILITY, AVAILABILITY, topic(METER, "stream"),
            topic(METER, "level")} <= before
    changed = settings(live.proxy.port)
    del changed["devices"]["other"]
    del changed["devices"][METER]["characteristics"]["level"]
    live.gateway.write(changed)
    since = live.recorder.mark()
    live.gateway.start()
    live.recorder.wait(AVAILABILITY, "online", since, 20 * SLACK)
    document = "homeassistant/device/gatt2mqtt_other/config"
    assert document in before
    gone = {each for each in before if each.startswith(topic("other/"))}
    gone |= {topic(METER, "level"), document}
    wait_until(lambda: not gone & kept(house, live.broker.port), 10 * SLACK,
               "they are cleared")
    assert kept(house, live.broker.port) >= before - gone
    # the list without them comes last, when the broker has acknowledged that they are cleared
    live.recorder.wait(topic("bridge/e2e/devices"),
                       lambda m: [each["id"] for each in m.json["devices"]] == [METER], since,
                       10 * SLACK)

"""Home Assistant: what is announced, what each entity shows, and what its controls do."""

import copy
import json
import os
import signal

import pytest

import ha_rules
from ha_rules import UNAVAILABLE, UNKNOWN, HomeAssistant
from harness import ROOT, SLACK, Recorder, wait_until
from world import (ADDRESS, AVAILABILITY, GATEWAY, METER, OTHER_AVAILABILITY, STATUS,
                   characteristic, topic, uuid)

DOCUMENT = f"homeassistant/device/gatt2mqtt_{METER}/config"
OTHER_DOCUMENT = "homeassistant/device/gatt2mqtt_other/config"
GATEWAY_DOCUMENT = f"homeassistant/device/gatt2mqtt_bridge_{GATEWAY}/config"


def peripherals():
    return {"peripherals": {
        METER: {
            "address": ADDRESS, "address_type": "random", "name": "Meter", "interval": "100ms",
            "advertise": {"services": [uuid(1)]},
            "services": [{"uuid": uuid(1), "characteristics": [
                characteristic("climate", 0x10, ["read", "notify"], value="640832"),
                characteristic("power", 0x11, ["read", "write"], value="00"),
                characteristic("target", 0x12, ["read", "write"], value="2a"),
                characteristic("mode", 0x13, ["read", "write"], value="00"),
                characteristic("label", 0x14, ["read", "write"], value="6869"),
                characteristic("button", 0x15, ["notify"], value="00"),
                characteristic("door", 0x16, ["read", "notify"], value="01"),
            ]}],
        },
        "other": {
            "address": "A4:C1:38:00:0E:02", "name": "Other", "interval": "100ms",
            "services": [{"uuid": "0x180F", "characteristics": [
                {"id": "battery", "uuid": "0x2A19", "value": "57",
                 "properties": ["read", "notify"]}]}],
        },
    }}


def settings(port, **home_assistant):
    def entry(number, fields, **more):
        return dict({"uuid": uuid(number), "fields": fields}, **more)

    now = {"on_connect": True}
    return {
        "mqtt": {"url": f"mqtt://127.0.0.1:{port}"},
        "gateway": {"id": GATEWAY},
        "home_assistant": home_assistant,
        "commands": {"allow": ["reload"]},
        "devices": {
            METER: {
                "name": "Cellar", "area": "Below",
                "match": {"address": ADDRESS},
                "commands": {"off": {"steps": [
                    {"write": {"characteristic": "power", "value": False}}]}},
                "characteristics": {
                    "climate": entry(0x10, {
                        "temperature": {"type": "int16", "scale": 0.01, "unit": "°C",
                                        "invalid": 0x8000},
                        "humidity": {"type": "uint8", "unit": "%"}}, subscribe=True, read=now),
                    "power": entry(0x11, {"value": {"type": "bool"}}, writable=True, read=now),
                    "target": entry(0x12, {"value": {"type": "uint8", "scale": 0.5, "unit": "°C"}},
                                    writable=True, read=now),
                    "mode": entry(0x13, {"value": {"type": "uint8", "enum": {
                        "0": "eco", "1": "fast \"now\""}}}, writable=True, read=now),
                    "label": entry(0x14, {"text": {"type": "string"}}, writable=True, read=now),
                    "button": entry(0x15, {"action": {"type": "uint8", "enum": {
                        "1": "press", "2": "hold"}}}, subscribe=True, kind="event"),
                    "door": entry(0x16, {"value": {"type": "bool", "device_class": "door"}},
                                  subscribe=True, read=now, payload="value"),
                },
            },
            "other": {
                "match": {"address": "A4:C1:38:00:0E:02"},
                "characteristics": {"battery": {"uuid": "0x2A19", "subscribe": True}},
            },
        },
    }


class Home:
    """A gateway, and a Home Assistant at the same broker."""

    def __init__(self, house, **home_assistant):
        self.house = house
        self.broker = house.broker()
        self.ha = HomeAssistant(house, self.broker.port,
                                home_assistant.get("prefix", "homeassistant"))
        self.recorder = self.ha.recorder
        self.simulator = house.simulate(peripherals())
        self.config = settings(self.broker.port, **home_assistant)
        self.gateway = house.gateway(self.config)
        for each in (AVAILABILITY, OTHER_AVAILABILITY, STATUS):
            self.recorder.wait(each, "online", timeout=15 * SLACK)

    def shows(self, entity, state, timeout=10 * SLACK):
        """Waits for the entity of the meter to show that."""
        unique_id = f"gatt2mqtt_{METER}_{entity}"
        wait_until(lambda: self.ha.state(unique_id) == state, timeout,
                   f"{unique_id} shows {state!r}; it shows {self.ha.state(unique_id)!r}")

    def send(self, entity, value=None):
        self.ha.send(f"gatt2mqtt_{METER}_{entity}", value)

    def reload(self, config):
        self.gateway.write(config)
        since = self.recorder.mark()
        self.gateway.process.send(signal.SIGHUP)
        event = topic("bridge", GATEWAY, "event")
        assert self.recorder.wait(event, lambda m: m.json["event"].startswith("reload"), since,
                                  10 * SLACK).json["event"] == "reloaded"

    def late(self):
        """All messages that the broker keeps."""
        late = Recorder(self.broker.port)
        try:
            late.publish("marker", "x")
            late.wait("marker")
            with late.changed:
                return [each for each in late.messages if each.retain and each.payload]
        finally:
            late.close()

    def retained(self):
        """Their topics."""
        return {each.topic for each in self.late()}

    def is_cleared(self, *topics):
        for each in topics:
            self.recorder.wait(each, "", timeout=10 * SLACK)
        assert not set(topics) & self.retained()


@pytest.fixture
def home(house):
    return Home(house)


@pytest.mark.parametrize("name", ["house", "composed", "components"])
def test_golden_documents_are_taken_by_home_assistant(name):
    with open(os.path.join(ROOT, f"tests/data/discovery/{name}.json")) as golden:
        assert ha_rules.check_all(json.load(golden)) == []


def test_every_device_is_announced_and_shows_its_states(home):
    documents = home.ha.documents()
    assert set(documents) == {DOCUMENT, OTHER_DOCUMENT, GATEWAY_DOCUMENT}
    assert ha_rules.check_all(documents) == []
    assert documents[DOCUMENT]["device"]["connections"] == [["bluetooth", ADDRESS]]
    home.shows("climate_temperature", 21.48)
    home.shows("climate_humidity", 50.0)
    home.shows("power_value", "off")
    home.shows("target_value", 21.0)
    home.shows("mode_value", "eco")
    home.shows("label_text", "hi")
    home.shows("door_value", "on")
    home.shows("status_connectivity", "on")
    home.shows("status_link", "online")
    assert -127 <= home.ha.state(f"gatt2mqtt_{METER}_status_rssi") <= 20
    home.simulator.ask(f"value {METER} climate 008032")
    home.shows("climate_temperature", UNKNOWN)


def test_each_control_does_what_it_says(home):
    home.shows("power_value", "off")
    home.send("power_value", "on")
    home.shows("power_value", "on")
    assert home.simulator.ask(f"get {METER} power") == "01"
    home.send("command_off")
    wait_until(lambda: home.simulator.ask(f"get {METER} power") == "00", 10 * SLACK, "it is off")
    home.send("target_value", 19.5)
    home.shows("target_value", 19.5)
    home.send("target_value", 20.0)
    home.shows("target_value", 20.0)
    home.send("mode_value", 'fast "now"')
    home.shows("mode_value", 'fast "now"')
    home.send("label_text", '{"not": json}')
    home.shows("label_text", '{"not": json}')


def test_a_button_is_an_event(home):
    home.simulator.ask(f"value {METER} button 02")
    home.shows("button_action", "hold")
    home.simulator.ask(f"value {METER} button 01")
    home.shows("button_action", "press")
    button = topic(METER, "button")
    assert not any(each.retain for each in home.recorder.on(button))
    assert button not in home.retained()


def test_who_is_away_is_unavailable_and_says_why(home):
    home.shows("climate_temperature", 21.48)
    home.simulator.ask(f"vanish {METER}")
    home.shows("climate_temperature", UNAVAILABLE, 30 * SLACK)
    home.shows("status_connectivity", "off")
    assert home.ha.state(f"gatt2mqtt_{METER}_status_why") not in (UNAVAILABLE, UNKNOWN)
    home.gateway.stop()
    home.shows("status_connectivity", UNAVAILABLE)


def test_home_assistants_birth_is_answered_with_everything(home):
    home.shows("climate_temperature", 21.48)
    since = home.recorder.mark()
    home.ha.born()
    home.recorder.wait(topic(METER, "climate"), None, since, 15 * SLACK)
    order = [[each.topic for each in home.recorder.messages[since:]].index(wanted)
             for wanted in (AVAILABILITY, DOCUMENT, topic(METER, "climate"))]
    assert order == sorted(order)
    assert home.recorder.on(GATEWAY_DOCUMENT, since)
    # only its coming counts
    since = home.recorder.mark()
    home.recorder.publish("homeassistant/status", "offline")
    home.simulator.ask(f"value {METER} climate 640833")
    home.recorder.wait(topic(METER, "climate"), lambda m: m.json["humidity"] == 51, since)
    assert not home.recorder.on(DOCUMENT, since)


def test_a_device_that_leaves_the_file_leaves_nothing_behind(home):
    config = copy.deepcopy(home.config)
    del config["devices"][METER]
    home.reload(config)
    home.is_cleared(DOCUMENT, AVAILABILITY, topic(METER, "climate"))
    assert not [each for each in home.retained() if METER in each.split("/")]
    assert OTHER_DOCUMENT in home.retained()


def test_a_device_renamed_while_the_gateway_was_down_leaves_nothing_behind(home):
    home.gateway.kill()
    home.config["devices"]["cellar"] = home.config["devices"].pop(METER)
    home.gateway.write(home.config)
    home.gateway.start()
    home.is_cleared(DOCUMENT, AVAILABILITY, topic(METER, "climate"))
    home.recorder.wait("homeassistant/device/gatt2mqtt_cellar/config", timeout=15 * SLACK)
    assert not [each for each in home.retained() if METER in each]


@pytest.mark.parametrize("running", [True, False], ids=["reload", "restart"])
@pytest.mark.parametrize("change", [{"discovery": "off"}, {"prefix": "ha/two"}],
                         ids=["off", "prefix"])
def test_documents_go_when_they_are_not_wanted_or_move(home, running, change):
    config = dict(home.config, home_assistant=change)
    if running:
        home.reload(config)
    else:
        home.gateway.stop()
        home.gateway.write(config)
        home.gateway.start()
    home.is_cleared(DOCUMENT, OTHER_DOCUMENT, GATEWAY_DOCUMENT)
    if "prefix" in change:
        moved = DOCUMENT.replace("homeassistant", "ha/two")
        home.recorder.wait(moved, timeout=10 * SLACK)
        assert moved in home.retained()
    else:
        assert not [each for each in home.retained() if "gatt2mqtt_" in each]


def test_a_changed_name_is_announced_and_nothing_else(home):
    config = copy.deepcopy(home.config)
    config["devices"][METER]["name"] = "Basement"
    since = home.recorder.mark()
    home.reload(config)
    home.recorder.wait(DOCUMENT, lambda m: m.json["device"]["name"] == "Basement", since)
    assert not home.recorder.on(OTHER_DOCUMENT, since)


FOREIGN = {  # of others, and nothing that this gateway has published
    "homeassistant/sensor/gatt2mqtt_elsewhere_level_value/config": '{"name":"x"}',
    f"homeassistant/sensor/{METER}_climate/config": '{"name":"y"}',
    f"homeassistant/sensor/gatt2mqtt_{METER}x_climate_value/config": '{"name":"z"}',
    "homeassistant/device/gatt2mqtt_elsewhere/config": '{"name":"w"}',
    f"homeassistant/sensor/gatt2mqtt_{METER}_not_listed/config": '{"name":"v"}',
}


def change(home, config, how):
    """The new file, while it runs, after a stop, or after a kill."""
    if how == "reload":
        home.reload(config)
        return
    (home.gateway.kill if how == "kill" else home.gateway.stop)()
    home.gateway.write(config)
    home.gateway.start()


def documents_retained(home):
    return {each for each in home.retained()
            if each.startswith("homeassistant/") and each not in FOREIGN}


@pytest.mark.parametrize("how", ["reload", pytest.param("stop", marks=pytest.mark.variant), "kill"])
def test_the_form_of_the_documents_changes_and_entities_stay(home, how):
    for each, payload in FOREIGN.items():
        home.recorder.publish(each, payload, retain=True)
    home.shows("climate_temperature", 21.48)
    entities = set(home.ha.entities())

    def wait_for(is_right, what, known=entities):
        wait_until(lambda: is_right(documents_retained(home)) and
                   set(home.ha.entities()) == known, 20 * SLACK, what)
        assert (home.ha.refused, home.ha.let_go) == ([], set())

    change(home, dict(home.config, home_assistant={"discovery": "component"}), how)
    wait_for(lambda kept: len(kept) == len(entities) and not any("/device/" in each for each in kept),
             "one document for each entity, and no other")
    assert not home.ha.removed
    assert ha_rules.check_all({each: document for each, document in home.ha.documents().items()
                               if each not in FOREIGN}) == []
    home.shows("climate_temperature", 21.48)
    home.send("power_value", "on")
    home.shows("power_value", "on")
    change(home, home.config, how)
    wait_for(lambda kept: kept == {DOCUMENT, OTHER_DOCUMENT, GATEWAY_DOCUMENT}, "those of devices")
    assert not home.ha.removed
    change(home, dict(home.config, home_assistant={"discovery": "off"}), how)
    wait_for(lambda kept: not kept, "nothing", set())
    assert FOREIGN.keys() <= home.retained()


@pytest.mark.parametrize("form", ["device",
                                  pytest.param("component", marks=pytest.mark.variant)])
@pytest.mark.parametrize("how", ["reload", "kill"])
def test_a_field_that_leaves_the_file_leaves_home_assistant(house, form, how):
    home = Home(house, discovery=form)
    home.shows("climate_humidity", 50.0)
    entities = set(home.ha.entities())
    config = copy.deepcopy(home.config)
    characteristics = config["devices"][METER]["characteristics"]
    del characteristics["climate"]["fields"]["humidity"]
    del characteristics["label"]
    characteristics["power"]["writable"] = False  # it was a switch, and is a binary sensor
    gone = {("sensor", f"gatt2mqtt_{METER}_climate_humidity"),
            ("text", f"gatt2mqtt_{METER}_label_text"),
            ("switch", f"gatt2mqtt_{METER}_power_value")}
    del config["devices"][METER]["commands"]
    gone.add(("button", f"gatt2mqtt_{METER}_command_off"))
    change(home, config, how)

    def is_right():
        home.ha.catch_up()
        return set(home.ha.removed) == gone and \
            ("binary_sensor", f"gatt2mqtt_{METER}_power_value") in home.ha.known
    wait_until(is_right, 20 * SLACK, "they are removed")
    home.shows("power_value", "off")
    assert entities - set(home.ha.entities()) == {key[1] for key in gone} - {
        f"gatt2mqtt_{METER}_power_value"}
    assert len(home.ha.removed) == len(gone) and not home.ha.refused
    wait_until(lambda: not [each for each in home.late() if "climate_humidity" in each.text and
                            each.topic.startswith(("homeassistant/", topic("bridge", GATEWAY)))],
               10 * SLACK, "nothing is kept of them")

"""Entities of several fields and commands: what Home Assistant shows of them, and what it does."""

import pytest

import ha_rules
from ha_rules import HomeAssistant
from harness import SLACK, wait_until
from world import ADDRESS, AVAILABILITY, GATEWAY, METER, characteristic, topic, uuid

VALUES = {  # what the peripheral has at first
    "power": "00", "level": "32", "warmth": "b80b", "color": "ff8000", "effect": "00",
    "shade": "3c", "target": "3c", "motor": "00", "bolt": "01", "unlocker": "00", "setpoint": "2a01",
    "room": "6408", "valve": "00", "fan": "0002000100",
    "reset": "0000",
}


def peripherals():
    return {"peripherals": {METER: {
        "address": ADDRESS, "address_type": "random", "name": "Meter", "interval": "100ms",
        "services": [{"uuid": uuid(1), "characteristics": [
            characteristic(name, 0x10 + i, ["read", "write", "notify"], value=value)
            for i, (name, value) in enumerate(VALUES.items())]}],
    }}}


def settings(port):
    number = {name: 0x10 + i for i, name in enumerate(VALUES)}

    def entry(name, **fields):
        return {"uuid": uuid(number[name]), "fields": fields, "subscribe": True, "writable": True,
                "read": {"on_connect": True}}

    def byte(**more):
        return dict({"type": "uint8"}, **more)

    on = {"type": "bool"}
    return {
        "mqtt": {"url": f"mqtt://127.0.0.1:{port}"}, "gateway": {"id": GATEWAY},
        "devices": {METER: {
            "name": "Room", "match": {"address": ADDRESS},
            "home_assistant": {"hw_version": "2", "serial_number": None},
            "commands": {
                "move": {"parameters": {"to": {"min": 0, "max": 100}}, "steps": [
                    {"write": {"characteristic": "target", "value": {"parameter": "to"}}}]},
                "stop": {"steps": [{"write": {"characteristic": "motor", "value": "halt"}}]},
                "release": {"steps": [
                    {"write": {"characteristic": "unlocker", "value": {"raw": "01"}}}]},
            },
            "characteristics": {
                "power": entry("power", value=on),
                "level": entry("level", value=byte(max=100)),
                "warmth": entry("warmth", value={"type": "uint16", "unit": "K", "min": 2000,
                                                 "max": 6500}),
                "color": entry("color", red=byte(), green=byte(), blue=byte()),
                "effect": entry("effect", value=byte(enum={"0": "none", "1": "it's \"odd\" \\ ü"})),
                "shade": entry("shade", value=byte()),
                "target": entry("target", value=byte()),
                "motor": entry("motor", value=byte(enum={"0": "rest", "1": "halt"})),
                "bolt": entry("bolt", value=byte(enum={"0": "in", "1": "out", "2": "stuck"})),
                "unlocker": entry("unlocker", value=byte()),
                "setpoint": dict(entry("setpoint",
                                       target=byte(scale=0.5, unit="°C", min=5, max=30),
                                       mode=byte(enum={"0": "frost", "1": "manual", "2": "auto"})),
                                 set="merge"),
                "room": entry("room", value={"type": "int16", "scale": 0.01, "unit": "°C",
                                             "invalid": 0x8000}),
                "valve": entry("valve", value=byte(unit="%")),
                "fan": dict(entry("fan", power=on, speed=byte(max=4), swing=on,
                                  mode=byte(enum={"0": "normal", "1": "sleep"}), back=on),
                            set="merge"),
                "reset": dict(entry("reset", code=byte(const=0xa5), count=byte(counter=True)),
                              payload="json"),
            },
            "entities": {
                "main": {"platform": "light", "state": "power", "brightness": "level",
                         "color_temp": "warmth", "rgb": ["color.red", "color.green", "color.blue"],
                         "effect": "effect", "home_assistant": {"icon": "mdi:lamp", "qos": 0}},
                "dim": {"platform": "light", "brightness": "level", "sensors": True},
                "blind": {"platform": "cover",
                          "position": {"field": "shade", "values": {"open": 0, "closed": 100}},
                          "set_position": {"command": "move"}, "stop": {"command": "stop"}},
                "door": {"platform": "lock",
                         "state": {"field": "bolt",
                                   "values": {"locked": "out", "unlocked": "in", "jammed": "stuck"}},
                         "unlock": {"command": "release"},
                         "home_assistant": {"command_template": None}},
                "heating": {"platform": "climate", "temperature": "setpoint.target",
                            "current_temperature": "room", "action": "valve",
                            "mode": {"field": "setpoint.mode", "values": {
                                "heat": "manual", "auto": "auto", "off": "frost"}}},
                "fan": {"platform": "fan", "state": "fan.power", "percentage": "fan.speed",
                        "preset_mode": "fan.mode", "oscillation": "fan.swing",
                        "direction": "fan.back"},
                "height": {"platform": "number", "state": "shade", "set_state": {"command": "move"}},
                "relay": {"platform": "switch", "state": "fan.power"},
            },
        }},
    }


class Home:
    def __init__(self, house):
        self.broker = house.broker()
        self.ha = HomeAssistant(house, self.broker.port)
        self.simulator = house.simulate(peripherals())
        self.gateway = house.gateway(settings(self.broker.port))
        self.ha.recorder.wait(AVAILABILITY, "online", timeout=15 * SLACK)

    def shows(self, entity, **wanted):
        unique_id, shown = f"gatt2mqtt_{METER}_entity_{entity}", {}

        def is_so():
            shown.update(self.ha.attributes(unique_id))
            return all(shown.get(key) == value for key, value in wanted.items())
        wait_until(is_so, 10 * SLACK, lambda: f"{entity} shows {wanted}; it shows {shown}")

    def act(self, entity, action, **data):
        self.ha.act(f"gatt2mqtt_{METER}_entity_{entity}", action, **data)

    def has(self, name, value):
        wait_until(lambda: self.simulator.ask(f"get {METER} {name}") == value, 10 * SLACK,
                   lambda: f"{name} is {value}, not {self.simulator.ask(f'get {METER} {name}')}")


@pytest.fixture
def home(house):
    return Home(house)


def test_what_is_announced_is_taken_and_has_no_part_twice(home):
    documents = home.ha.documents()
    assert ha_rules.check_all(documents) == []
    document = documents[f"homeassistant/device/gatt2mqtt_{METER}/config"]
    assert document["device"]["hw_version"] == "2"
    components = document["components"]
    assert components["entity_main"]["name"] is None
    assert components["entity_main"]["icon"] == "mdi:lamp" and components["entity_main"]["qos"] == 0
    # only what is no part of an entity has one of its own, and `sensors: true` keeps some
    alone = {name: each["platform"] for name, each in components.items()
             if not name.startswith(("entity_", "status_"))}
    assert alone == {"motor_value": "select", "target_value": "number", "unlocker_value": "number",
                     "reset_press": "button"}


def test_a_light(home):
    home.shows("main", state="off", brightness=128, color_temp=333, rgb=(255, 128, 0), effect="none")
    home.act("main", "turn_on", brightness=255)
    home.shows("main", state="on", brightness=255)
    home.has("level", "64")
    home.act("main", "turn_on", color_temp=400)
    home.shows("main", color_temp=400)
    home.act("main", "turn_on", rgb=(1, 2, 3))
    home.shows("main", rgb=(1, 2, 3))
    home.has("color", "010203")
    home.act("main", "turn_on", effect="it's \"odd\" \\ ü")
    home.shows("main", effect="it's \"odd\" \\ ü")
    home.act("main", "turn_off")
    home.shows("main", state="off")
    home.has("power", "00")
    # one of a brightness alone
    home.act("dim", "turn_off")
    home.shows("dim", state="off")
    home.has("level", "00")
    home.act("dim", "turn_on", brightness=26)
    home.shows("dim", state="on", brightness=26)
    home.has("level", "0a")


def test_a_cover_a_number_and_buttons(home):
    home.shows("blind", position=40, state="open")
    home.act("blind", "set_position", position=70)
    home.has("target", "1e")
    home.act("blind", "close")
    home.has("target", "64")
    home.act("blind", "open")
    home.has("target", "00")
    home.act("blind", "stop")
    home.has("motor", "01")
    home.simulator.ask(f"value {METER} shade 64")
    home.shows("blind", position=0, state="closed")
    home.ha.send(f"gatt2mqtt_{METER}_entity_height", 55)
    home.has("target", "37")
    # what can only be written one way is a button
    home.ha.send(f"gatt2mqtt_{METER}_reset_press")
    home.has("reset", "a500")
    home.ha.send(f"gatt2mqtt_{METER}_reset_press")
    home.has("reset", "a501")
    # what it cannot do is answered
    result, since = topic(METER, "entity", "result"), home.ha.recorder.mark()
    home.ha.recorder.publish(topic(METER, "entity", "set", "blind"), "dance")
    assert home.ha.recorder.wait(result, None, since).json["error"]["code"] == "invalid_value"


def test_a_lock(home):
    home.shows("door", state="locked")
    home.act("door", "unlock")
    home.has("unlocker", "01")
    home.simulator.ask(f"value {METER} bolt 00")
    home.shows("door", state="unlocked")
    home.act("door", "lock")
    home.shows("door", state="locked")
    home.has("bolt", "01")
    home.simulator.ask(f"value {METER} bolt 02")
    home.shows("door", state="jammed")


def test_a_thermostat(home):
    home.shows("heating", temperature=21.0, current_temperature=21.48, state="heat", action="idle")
    home.act("heating", "set_temperature", temperature=19.5)
    home.shows("heating", temperature=19.5)
    home.act("heating", "set_temperature", temperature=20)
    home.shows("heating", temperature=20.0)
    home.act("heating", "set_mode", mode="off")
    home.shows("heating", state="off", temperature=20.0)
    home.has("setpoint", "2800")
    home.simulator.ask(f"value {METER} valve 10")
    home.simulator.ask(f"value {METER} room 0080")
    home.shows("heating", action="heating", current_temperature=None)


def test_a_fan_and_a_switch_of_a_part_of_it(home):
    home.shows("fan", state="off", percentage=50, preset_mode="sleep", oscillating="oscillate_off",
               direction="forward")
    home.act("fan", "turn_on", percentage=100)
    home.shows("fan", state="on", percentage=100)
    home.act("fan", "set_preset_mode", mode="normal")
    home.act("fan", "oscillate", on=True)
    home.act("fan", "set_direction", direction="reverse")
    home.shows("fan", preset_mode="normal", oscillating="oscillate_on", direction="reverse")
    home.has("fan", "0104010001")
    relay = f"gatt2mqtt_{METER}_entity_relay"
    assert home.ha.state(relay) == "on"
    home.ha.send(relay, "off")
    home.shows("fan", state="off", percentage=100)

"""Formats of the Bluetooth SIG: the configuration says a UUID and no fields, and the values come with
their names, units and unknowns, notified, indicated or read; and go back."""

import pytest

from harness import SLACK
from world import GATEWAY, STATUS, topic

PERIPHERALS = {
    "strap": ("C8:00:00:00:0F:01", [
        ("heart_rate", "0x2A37", ["notify"], "0048"),
        ("location", "0x2A38", ["read"], "01"),
        ("control", "0x2A39", ["write"], "00"),
        ("battery", "0x2A19", ["read"], "57"),
    ]),
    "thermometer": ("C8:00:00:00:0F:02", [
        ("body", "0x2A1C", ["indicate"], "00720100ff"),
        ("temperature", "0x2A6E", ["read", "notify"], "6408"),
        ("humidity", "0x2A6F", ["read", "notify"], "8813"),
    ]),
    "scale": ("C8:00:00:00:0F:03", [
        ("weight", "0x2A9D", ["indicate"], "00803e"),
    ]),
}


def simulated():
    def peripheral(address, characteristics):
        return {
            "address": address, "address_type": "random", "interval": "100ms",
            "services": [{
                "uuid": "0x180D",
                "characteristics": [{"id": name, "uuid": uuid, "properties": properties, "value": value}
                                    for name, uuid, properties, value in characteristics],
            }],
        }

    return {"peripherals": {name: peripheral(*each) for name, each in PERIPHERALS.items()}}


def settings(port):
    def entry(uuid, properties):
        how = {"uuid": uuid}
        if "read" in properties:
            how["read"] = {"on_connect": True}
        if "notify" in properties or "indicate" in properties:
            how["subscribe"] = True
        if "write" in properties:
            how["writable"] = True
        return how

    return {
        "mqtt": {"url": f"mqtt://127.0.0.1:{port}"},
        "gateway": {"id": GATEWAY},
        "devices": {
            name: {
                "match": {"address": address},
                "characteristics": {name: entry(uuid, properties)
                                    for name, uuid, properties, _ in characteristics},
            } for name, (address, characteristics) in PERIPHERALS.items()
        },
    }


class Ward:
    def __init__(self, house):
        broker = house.broker()
        self.recorder = house.recorder(broker.port)
        self.simulator = house.simulate(simulated())
        house.gateway(settings(broker.port))
        self.recorder.wait(STATUS, "online", timeout=10 * SLACK)
        for name in PERIPHERALS:
            self.recorder.wait(topic(name, "status/availability"), "online", timeout=15 * SLACK)
        for name, (_, characteristics) in PERIPHERALS.items():
            for each, _, properties, _ in characteristics:
                if "read" in properties:  # on connect: before what a test sends
                    self.recorder.wait(topic(name, each), timeout=10 * SLACK)

    def send(self, device, characteristic, value):
        """What is published of a value that the peripheral notifies or indicates."""
        since = self.recorder.mark()
        self.simulator.ask(f"value {device} {characteristic} {value}")
        return without_ts(self.recorder.wait(topic(device, characteristic), since=since).json)


def without_ts(value):
    assert value.pop("ts")
    return value


@pytest.fixture
def ward(house):
    return Ward(house)


def test_values_are_named_and_in_one_unit(ward):
    assert ward.send("strap", "heart_rate", "0048") == {"heart_rate_measurement_value": 72}
    # as 16 bits, with contact, energy and two intervals in 1/1024 s
    assert ward.send("strap", "heart_rate", "1f2c01050000045503") == {
        "sensor_contact": True, "heart_rate_measurement_value": 300, "energy_expended": 5,
        "rr_interval": [1, 0.833]}
    assert ward.send("thermometer", "temperature", "0cfe") == {"value": -5}
    assert ward.send("thermometer", "humidity", "8e13") == {"value": 50.06}
    # indicated: 98.6 °F with the time and the place
    assert ward.send("thermometer", "body", "07da0300ffea070b1a173b1e02") == {
        "temperature_measurement_value": 37, "time_stamp": "2026-11-26T23:59:30",
        "temperature_type": "body"}
    # 80 kg, as kilograms and as pounds
    assert ward.send("scale", "weight", "00803e") == {"weight": 80}
    assert ward.send("scale", "weight", "01e544") == {"weight": 80}
    assert ward.send("scale", "weight", "0e803eea070b1a173b1e01ff00e906") == {
        "weight": 80, "time_stamp": "2026-11-26T23:59:30", "user_id": 1, "bmi": 25.5,
        "height": 1.769}


def test_what_is_read_on_connect_is_decoded(ward):
    wait = ward.recorder.wait
    assert without_ts(wait(topic("strap", "location")).json) == {"value": "chest"}
    assert without_ts(wait(topic("strap", "battery")).json) == {"value": 87}
    assert without_ts(wait(topic("thermometer", "temperature")).json) == {"value": 21.48}


def test_what_the_peripheral_does_not_know_is_null(ward):
    assert ward.send("thermometer", "temperature", "0080") == {"value": None}
    assert ward.send("thermometer", "humidity", "ffff") == {"value": None}
    assert ward.send("thermometer", "body", "00ffff7f00") == {"temperature_measurement_value": None}


def test_too_short_a_value_is_published_nowhere(ward):
    since = ward.recorder.mark()
    ward.simulator.ask("value scale weight 0080")
    assert ward.send("scale", "weight", "00803e") == {"weight": 80}
    assert len(ward.recorder.on(topic("scale", "weight"), since)) == 1


def test_the_control_point_is_written_by_its_word(ward):
    def set(payload):
        since = ward.recorder.mark()
        ward.recorder.publish(topic("strap/control/set"), payload)
        return ward.recorder.wait(topic("strap/control/result"), since=since).json

    assert set("reset_energy_expended")["status"] == "ok"
    assert ward.simulator.ask("writes strap control") == "request:01"
    assert set("reset_everything")["error"]["code"] == "invalid_value"
    assert ward.simulator.ask("writes strap control") == ""  # since it was asked last


def test_units_are_told_in_the_list_of_devices(ward):
    devices = ward.recorder.wait(
        topic("bridge", GATEWAY, "devices"),
        lambda m: m.text and len(m.json["devices"]) == len(PERIPHERALS)).json["devices"]
    units = {(device["id"], characteristic["id"], field["name"]): field.get("unit")
             for device in devices for characteristic in device["characteristics"]
             for field in characteristic["fields"]}
    assert units["strap", "heart_rate", "heart_rate_measurement_value"] == "bpm"
    assert units["strap", "heart_rate", "rr_interval"] == "s"
    assert units["strap", "battery", "value"] == "%"
    assert units["thermometer", "body", "temperature_measurement_value"] == "°C"
    assert units["thermometer", "temperature", "value"] == "°C"
    assert units["scale", "weight", "weight"] == "kg"
    assert units["scale", "weight", "height"] == "m"

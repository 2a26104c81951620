"""Every file of config/ is valid, and runs in a test against peripherals that fit it: here, in a test of
its kind of device, or as a part of config/house.yaml."""

import glob
import os
import re
import subprocess

import pytest

from ha_rules import HomeAssistant
from harness import GATT2MQTT, ROOT, SLACK, variant, wait_until
from samples import CONFIG, Sample, entries, sample, samples
from world import topic

pytestmark = variant


def run_by_tests():
    """The names that a test starts a gateway with."""
    found = {"house.yaml", "try.yaml"}  # test_house.py, test_try.py
    for path in glob.glob(os.path.join(ROOT, "tests/e2e/test_*.py")):
        with open(path) as text:
            found |= set(re.findall(r'= Sample\(house, "([\w-]+\.yaml)"', text.read()))
    return found


def is_part_of_the_house(name):
    config, house = sample(name), sample("house.yaml")
    return all(entries(config, section).items() <= entries(house, section).items()
               for section in ("devices", "profiles"))


@pytest.mark.parametrize("name", samples())
def test_each_sample_is_valid_and_runs_in_a_test(name):
    check = subprocess.run([*GATT2MQTT, "-c", os.path.join(CONFIG, name), "check"], text=True,
                           capture_output=True, timeout=30 * SLACK)
    assert check.returncode == 0 and not check.stderr, check.stderr
    assert "warning" not in check.stdout
    assert entries(sample(name), "devices")
    assert name in run_by_tests() or is_part_of_the_house(name), \
        f"config/{name} is run by no test: put its device into config/house.yaml, or write one"


def test_the_house_is_made_of_samples_alone():
    parts = [entries(sample(name), "devices") for name in samples() if name != "house.yaml"]
    for name, text in entries(sample("house.yaml"), "devices").items():
        assert text in [part.get(name) for part in parts], f"no sample has {name} as the house has it"


def test_the_smallest_sample_does_something(house):
    strap = Sample(house, "minimal.yaml", "strap")
    assert 62 <= strap.wait("heart_rate")["value"] <= 96


def world(name):
    with open(os.path.join(ROOT, "tests/data/house", name)) as text:
        return text.read()


def test_the_sample_of_composed_entities_can_be_used_from_home_assistant(house):
    sample = Sample(house, "entities.yaml", "lamp", world("entities.yaml"))
    ha = HomeAssistant(house, sample.port)

    def shows(device, text):
        unique_id = f"gatt2mqtt_{device}_entity_main"
        wait_until(lambda: unique_id in ha.entities() and ha.text(unique_id) == text, 15 * SLACK,
                   lambda: f"{device} shows {text}; it shows {ha.text(unique_id)}")

    def act(device, action, **data):
        ha.act(f"gatt2mqtt_{device}_entity_main", action, **data)

    shows("lamp", "off brightness=128")
    act("lamp", "turn_on", brightness=51, color_temp=250, rgb=(255, 128, 0), effect="candle")
    shows("lamp", "on brightness=51 color_temp=250 rgb=(255, 128, 0) effect=candle")
    shows("blind", "open position=70")  # it counts the other way round
    act("blind", "set_position", position=20)
    shows("blind", "open position=20")
    act("blind", "close")
    shows("blind", "closed position=0")
    assert sample.simulator.ask("get blind report") == "64"
    act("blind", "stop")
    wait_until(lambda: sample.simulator.ask("writes blind control") == "request:ff", 10 * SLACK,
               "the blind is told to stop")
    shows("door", "locked")
    act("door", "unlock")
    shows("door", "unlocked")
    shows("radiator", "heat temperature=20 current_temperature=21 action=idle")
    act("radiator", "set_temperature", temperature=22.5)
    shows("radiator", "heat temperature=22.5 current_temperature=21 action=idle")
    act("radiator", "set_mode", mode="off")
    shows("radiator", "off temperature=22.5 current_temperature=21 action=idle")
    assert sample.simulator.ask("get radiator settings") == "2d00"


def test_the_sample_with_everything_works_as_it_says(house):
    full = Sample(house, "gatt2mqtt.yaml", "meter", world("full.yaml"))
    kept = {}
    for each in ("kitchen/climate", "bedroom/climate", "strap/heart_rate", "strap/battery",
                 "valve/level", "meter/reading"):
        message = full.recorder.wait(topic(each), timeout=15 * SLACK)
        kept[each] = {key: value for key, value in message.json.items() if key != "ts"} \
            if message.payload.startswith(b"{") else message.text
    assert kept == {
        "kitchen/climate": {"temperature": 21.48, "humidity": 50, "voltage": 2.988},
        "bedroom/climate": {"temperature": -2.0, "humidity": 64},
        "strap/heart_rate": {"value": 72},
        "strap/battery": "87",
        "valve/level": {"value": 40},
        "meter/reading": {"power": 97.9, "taken": "2026-11-25T07:30:30",
                          "phases": [{"voltage": 229.9, "on": True}, {"voltage": 229.2, "on": False}]},
    }
    full.recorder.wait(topic("lamp/status/availability"), "online", timeout=15 * SLACK)
    assert full.ask("order/set", "ON")["status"] == "ok"
    assert [each[:16] for each in full.writes("order")] == ["request:aa550800"]
    full.device = "lamp"
    assert full.ask("light/set", '{"power":"on"}')["status"] == "ok"
    assert full.writes("light") == ["request:0132"]

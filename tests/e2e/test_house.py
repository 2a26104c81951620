"""A whole house, config/house.yaml against config/simulated-house.yaml: what Home Assistant shows of it,
what its controls do, and that nothing is left of a device that was removed or renamed. One gateway for
all of it; what a test takes away, no later one needs."""

import os
import re
import signal

import pytest

import ha_rules
from ha_rules import UNAVAILABLE, UNKNOWN, HomeAssistant
from harness import ROOT, SLACK, Recorder, variant, wait_until
from samples import (change_characteristic, gateway_id, rename_device, sample, with_broker,
                     without_device)
from world import topic

pytestmark = pytest.mark.xdist_group("house")

GOLDEN = os.path.join(ROOT, "tests/data/house/entities.txt")
CONNECTED = ["bedroom", "blind", "button", "door", "fan", "lamp", "leak", "plug", "strap",
             "thermometer"]
OCCASIONAL = ["plant", "scale", "valve"]  # not connected all the time
WAVING = ["plug", "strap", "thermometer"]  # whose values change all the time
DIAGNOSTICS = {
    "status_connectivity": ["binary_sensor", "Connectivity", "-", "connectivity", "on"],
    "status_rssi": ["sensor", "Signal strength", "dBm", "signal_strength", "-96..-45"],
    "status_link": ["sensor", "Link", "-", "-", "online"],
    "status_why": ["sensor", "Why", "-", "-", "*"],
}
FOREIGN = {  # of others at the same broker, with names much like ours
    "gatt2mqtt/strapped/relay": "{}",
    "gatt2mqtt/bridge/elsewhere/info": "{}",
    "homeassistant/device/gatt2mqtt_leaky/config":
        '{"device": {"identifiers": ["leaky"]}, "origin": {"name": "other"}, "components": {}}',
    "homeassistant/sensor/gatt2mqtt_button/press/config": "{}",
    "button": "1",
}
SENT = [  # entity, what it is set to, peripheral, its characteristic, what that has then
    ("plug_relay_value", "off", "plug", "relay", "00"),
    ("plug_relay_value", "on", "plug", "relay", "01"),
]
ACTIONS = [  # entity, action and data, what it shows, peripheral, its characteristic and what that has
    ("lamp", "turn_on", {}, "on brightness=255 color_temp=250", "lamp", "power", "01"),
    ("lamp", "turn_on", {"brightness": 102, "color_temp": 369},
     "on brightness=102 color_temp=369", "lamp", "white", "960a"),
    ("lamp", "turn_off", {}, "off brightness=102 color_temp=369", "lamp", "power", "00"),
    ("fan", "turn_on", {}, "on percentage=40 preset_mode=normal oscillating=oscillate_off",
     "fan", "drive", "01280000"),
    ("fan", "set_percentage", {"percentage": 60},
     "on percentage=60 preset_mode=normal oscillating=oscillate_off", "fan", "drive", "013c0000"),
    ("fan", "set_preset_mode", {"mode": "night"},
     "on percentage=60 preset_mode=night oscillating=oscillate_off", "fan", "drive", "013c0100"),
    ("fan", "oscillate", {"on": True},
     "on percentage=60 preset_mode=night oscillating=oscillate_on", "fan", "drive", "013c0101"),
    ("blind", "set_position", {"position": 75}, "open position=75", "blind", "position", "4b"),
    ("blind", "close", {}, "closed position=0", "blind", "position", "00"),
    ("blind", "open", {}, "open position=100", "blind", "position", "64"),
    ("door", "unlock", {}, "unlocked", "lock", "state", "0100"),
    ("door", "lock", {}, "locked", "lock", "state", "0000"),
    ("valve", "set_temperature", {"temperature": 18.5}, "auto temperature=18.5 action=heating",
     "valve", "state", "020108200425"),
    ("valve", "set_mode", {"mode": "heat"}, "heat temperature=21 action=heating",
     "valve", "state", "02010920042a"),
]


def golden():
    """By unique_id: platform, name, unit, device class and state of everything that should be."""
    with open(GOLDEN) as lines:
        rows = [[cell.strip() for cell in line.split("|")] for line in lines
                if line.strip() and not line.startswith("#")]
    wanted = {row[0]: row[1:] for row in rows}
    for device in CONNECTED + OCCASIONAL:
        for entity, columns in DIAGNOSTICS.items():
            wanted[f"gatt2mqtt_{device}_{entity}"] = list(columns)
    for device in OCCASIONAL:
        wanted[f"gatt2mqtt_{device}_status_link"][-1] = "*"
    return wanted


def fits(wanted, shown):
    bounds = re.fullmatch(r"(-?[\d.]+)\.\.(-?[\d.]+)", wanted)
    if wanted == "*":
        return shown not in (UNKNOWN, UNAVAILABLE)
    if bounds and re.fullmatch(r"-?[\d.]+", shown):
        return float(bounds[1]) <= float(shown) <= float(bounds[2])
    return wanted == shown


class Home:
    """The house, and a Home Assistant."""

    def __init__(self, house):
        self.house = house
        self.broker = house.broker()
        self.ha = HomeAssistant(house, self.broker.port)
        self.recorder = self.ha.recorder
        for each, payload in FOREIGN.items():
            self.recorder.publish(each, payload, retain=True)
        self.simulator = house.simulate(sample("simulated-house.yaml"))
        self.config = with_broker(sample("house.yaml"), self.broker.port)
        self.status = topic("bridge", gateway_id(self.config))
        self.gateway = house.gateway(self.config)
        wanted = golden()
        # what is found by its name is waited for 10 s: a stronger one might come
        for each in CONNECTED:
            self.recorder.wait(topic(each, "status/availability"), "online", 0, 12 + 15 * SLACK)
        try:
            wait_until(lambda: not self.differences(wanted), 15 * SLACK, "the house is complete")
        except AssertionError:
            pass  # the first test says what is wrong
        self.first_look = self.differences(wanted)

    def differences(self, wanted):
        """What Home Assistant shows otherwise than in the golden list."""
        entities = self.ha.entities()
        wrong = [f"{each} should not be there" for each in entities.keys() - wanted.keys()]
        wrong += [f"{each} is missing" for each in wanted.keys() - entities.keys()]
        for unique_id in entities.keys() & wanted.keys():
            _, component = entities[unique_id]
            *columns, state = wanted[unique_id]
            is_so = [component["platform"]] + [component.get(key) or "-" for key in
                                               ("name", "unit_of_measurement", "device_class")]
            shown = self.ha.text(unique_id)
            if columns != is_so or not fits(state, shown):
                wrong.append(f"{unique_id} is {is_so} and shows {shown}, not {wanted[unique_id]}")
        return sorted(wrong)

    def shows(self, entity, text, timeout=10 * SLACK):
        unique_id = f"gatt2mqtt_{entity}"
        wait_until(lambda: self.ha.text(unique_id) == text, timeout,
                   lambda: f"{entity} shows {text}; it shows {self.ha.text(unique_id)}")

    def of(self, devices):
        """(document, component) of each entity of these devices."""
        return {unique_id: each for unique_id, each in self.ha.entities().items()
                if unique_id.split("_")[1] in devices}

    def retained(self):
        """What the broker keeps: payloads by topic."""
        late = Recorder(self.broker.port)
        late.publish("marker", "x")
        late.wait("marker")
        late.close()
        return {each.topic: each.text for each in late.messages if each.retain and each.payload}

    def change(self, config, how):
        """The gateway gets another file."""
        self.config = config
        since = self.recorder.mark()
        if how == "reload":
            self.gateway.write(config)
            self.gateway.process.send(signal.SIGHUP)
            event = self.recorder.wait(f"{self.status}/event",
                                       lambda m: m.json["event"].startswith("reload"), since,
                                       10 * SLACK)
            assert event.json["event"] == "reloaded"
            return
        if how == "stopped":
            self.gateway.stop()
        else:
            self.gateway.kill()
        since = self.recorder.mark()
        self.gateway.write(config)
        self.gateway.start()
        self.recorder.wait(f"{self.status}/status", "online", since, 15 * SLACK)


@pytest.fixture(scope="module")
def home(shared_house):
    return Home(shared_house)


def test_home_assistant_shows_the_whole_house(home):
    assert home.first_look == []
    documents = {each: document for each, document in home.ha.documents().items()
                 if each not in FOREIGN}
    assert len(documents) == len(CONNECTED + OCCASIONAL) + 1
    assert ha_rules.check_all(documents) == []


def test_each_control_reaches_its_peripheral_and_is_shown(home):
    def has(peripheral, characteristic, value):
        wait_until(lambda: home.simulator.ask(f"get {peripheral} {characteristic}") == value,
                   10 * SLACK, f"{peripheral} {characteristic} has {value}")

    for entity, value, *written in SENT:
        home.ha.send(f"gatt2mqtt_{entity}", value)
        home.shows(entity, value)
        has(*written)
    for device, action, data, text, *written in ACTIONS:
        home.ha.act(f"gatt2mqtt_{device}_entity_main", action, **data)
        home.shows(f"{device}_entity_main", text)
        has(*written)
    home.ha.act("gatt2mqtt_blind_entity_main", "stop")
    wait_until(lambda: home.simulator.ask("writes blind stop") == "request:01", 10 * SLACK,
               "the blind is told to stop")
    home.ha.send("gatt2mqtt_valve_command_boost")
    home.shows("valve_state_boost", "on")
    orders = home.simulator.ask("writes lock order").split()
    assert [each[:16] for each in orders] == ["request:02123456", "request:01123456"]


def test_what_happens_in_the_house_is_shown_and_no_event_is_kept(home):
    since = home.recorder.mark()
    home.simulator.ask("value button press 02")
    home.shows("button_press_action", "double_press")
    home.simulator.ask("value button press 03")
    home.shows("button_press_action", "long_press")
    home.simulator.ask("value leak state 0157")
    home.shows("leak_state_water", "on")
    home.shows("leak_state_battery", "87")
    home.simulator.ask("value lywsd03 climate 0cfe28b80b")
    home.shows("bedroom_climate_temperature", "-5")
    pressed = home.recorder.on(topic("button/press"), since)
    assert [each.json["action"] for each in pressed] == ["double_press", "long_press"]
    kept = home.retained()
    assert topic("leak/state") in kept
    assert not {topic(each) for each in ("button/press", "strap/heart_rate", "scale/weight")} & set(kept)


def test_who_goes_becomes_unavailable_and_who_comes_back_available(home):
    peripherals = [{"bedroom": "lywsd03", "door": "lock"}.get(each, each) for each in CONNECTED]

    def available(devices):
        return {unique_id for unique_id, each in home.of(devices).items()
                if home.ha.is_available(*each) and "_status_" not in unique_id}

    everything = available(CONNECTED)
    occasional = available(OCCASIONAL)
    assert everything and occasional
    for each in peripherals:
        home.simulator.ask(f"vanish {each}")
    wait_until(lambda: not available(CONNECTED), 15 * SLACK, "all is unavailable")
    for each in CONNECTED:
        home.shows(f"{each}_status_connectivity", "off")
    assert available(OCCASIONAL) == occasional  # they sleep
    for each in peripherals:
        home.simulator.ask(f"appear {each}")
    wait_until(lambda: available(CONNECTED) == everything, 40 * SLACK, "all is available")


@variant
def test_the_house_is_the_same_with_a_document_per_entity_and_back(home):
    def look():
        return {each: home.ha.text(each) for each in home.ha.entities()
                if "_status_" not in each and each.split("_")[1] not in WAVING}

    def documents(form):
        return {each: document for each, document in home.ha.documents().items()
                if each not in FOREIGN and (each.split("/")[1] == "device") == (form == "device")}

    before, config = look(), home.config
    for form, other in (("component", "device"), ("device", "component")):
        home.change(f"{config}\nhome_assistant: {{ discovery: {form} }}\n", "reload")
        wait_until(lambda: not documents(other) and look() == before, 15 * SLACK,
                   lambda: f"{form}: left is {list(documents(other))}; otherwise is "
                   f"{set(look().items()) ^ set(before.items())}")
        assert ha_rules.check_all(documents(form)) == []
        assert home.ha.refused == [] and home.ha.let_go == set()
    home.config = config


@pytest.mark.parametrize("how, removed, old, new, let_go", [
    ("reload", "lamp", "bedroom", "nursery", ("thermometer", "humidity")),
    ("killed", "plant", "button", "bell", ("strap", "location")),
    pytest.param("stopped", "door", "leak", "washer", ("plug", "meter"), marks=variant),
])
def test_of_what_is_removed_renamed_or_no_longer_retained_nothing_is_left(home, how, removed, old, new,
                                                                          let_go):
    def renamed(text):
        return re.sub(rf"(/|gatt2mqtt_){old}(?=/|_|$)", rf"\g<1>{new}", text)

    before = set(home.retained())
    entities = set(home.ha.entities())
    assert topic(old, "status/link") in before and topic(removed, "status/link") in before
    assert topic(*let_go) in before
    kept = {each for each in before if not re.search(rf"(/|gatt2mqtt_){removed}(/|$)", each)}
    kept.remove(topic(*let_go))
    assert len(before) - len(kept) >= 4
    config = change_characteristic(home.config, *let_go, "retain: false")
    home.change(rename_device(without_device(config, removed), old, new), how)
    wanted = {each if each in FOREIGN else renamed(each) for each in kept}
    try:
        wait_until(lambda: set(home.retained()) == wanted, 15 * SLACK, "only what should be is kept")
    except AssertionError:
        assert sorted(home.retained()) == sorted(wanted)
    assert set(home.ha.entities()) == {
        renamed(each) for each in entities if f"_{removed}_" not in each}
    now = home.retained()
    assert {each: now.get(each) for each in FOREIGN} == FOREIGN
    for each in home.of([new]):
        if not each.endswith(("_action", "_rssi")):  # nobody has pressed it since, or heard it
            wait_until(lambda: home.ha.text(each) not in (UNKNOWN, UNAVAILABLE), 10 * SLACK,
                       f"{each} has a state")

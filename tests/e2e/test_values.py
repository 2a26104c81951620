"""Values from peripherals to MQTT, and writes and reads back."""

import datetime
import json
import re

import pytest

from harness import SLACK, variant
from world import AVAILABILITY, GATEWAY, METER, STREAM, Live, peripherals, settings, topic

TS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def live(house):
    return Live(house)


@pytest.mark.parametrize("notify, protocol", [
    ("signal", "3.1.1"),
    pytest.param("signal", 5, marks=variant),
    pytest.param("socket", "3.1.1", marks=variant),
    ("socket", 5),
])
def test_every_notification_arrives_once_and_in_order(house, notify, protocol):
    live = Live(house, protocol=protocol, notify=notify)
    live.simulator.ask(f"notify {METER} stream 1000 100")
    messages = live.recorder.wait_count(STREAM, 1000, timeout=15 * SLACK)
    assert [each.json["value"] for each in messages] == list(range(1, 1001))
    assert live.simulator.ask(f"sent {METER} stream") == "1000"
    # the next one is the next message: nothing came twice
    live.simulator.ask(f"notify {METER} stream 1 100")
    messages = live.recorder.wait_count(STREAM, 1001, timeout=5 * SLACK)
    assert [each.json["value"] for each in messages[1000:]] == [1001]


def test_a_value_is_a_retained_json_object_with_its_time(live):
    since = live.recorder.mark()
    before = datetime.datetime.now(datetime.timezone.utc)
    live.simulator.ask(f"value {METER} level 3930")
    message = live.recorder.wait(topic(METER, "level"), lambda m: m.json["value"] == 0x3039, since)
    after = datetime.datetime.now(datetime.timezone.utc)
    assert set(message.json) == {"value", "ts"}
    assert message.qos == 1
    assert TS.fullmatch(message.json["ts"])
    ts = datetime.datetime.fromisoformat(message.json["ts"].replace("Z", "+00:00"))
    assert before - datetime.timedelta(milliseconds=1) <= ts <= after
    late = live.house.recorder(live.broker.port)
    assert late.wait(topic(METER, "level")).retain


def test_read_on_connect_publishes_the_value_as_it_is(live):
    assert live.recorder.wait(topic(METER, "level")).json["value"] == 42


def test_get_reads_publishes_and_answers(live):
    live.simulator.ask(f"value {METER} setting 0102")
    since = live.recorder.mark()
    live.recorder.publish(topic(METER, "setting", "get"), "")
    value = live.recorder.wait(topic(METER, "setting"), since=since)
    result = live.recorder.wait(topic(METER, "setting", "result"), since=since).json
    assert value.json["value"] == 0x0201
    assert result["status"] == "ok"
    # unchanged, and published again: that is what get is for
    since = live.recorder.mark()
    live.recorder.publish(topic(METER, "setting", "get"), "")
    assert live.recorder.wait(topic(METER, "setting"), since=since).json["value"] == 0x0201


def test_set_is_a_write_request_answered_and_read_back(live):
    since = live.recorder.mark()
    assert live.set("setting", "513")["status"] == "ok"
    assert live.simulator.ask(f"writes {METER} setting") == "request:0102"
    value = live.recorder.wait(topic(METER, "setting"), since=since).json
    assert value["value"] == 513
    assert "assumed" not in value


@variant
@pytest.mark.parametrize("payload", ['{"value":513}', '{"raw":"0102"}', "513"])
def test_set_takes_an_object_raw_bytes_or_a_bare_value(live, payload):
    assert live.set("setting", payload)["status"] == "ok"
    assert live.simulator.ask(f"get {METER} setting") == "0102"


def test_set_of_a_field_takes_its_value(live):
    since = live.recorder.mark()
    live.recorder.publish(topic(METER, "setting", "set", "value"), "513")
    assert live.recorder.wait(topic(METER, "setting", "result"), since=since).json["status"] == "ok"
    assert live.simulator.ask(f"get {METER} setting") == "0102"


def test_a_characteristic_without_fields_is_hex_both_ways(live):
    since = live.recorder.mark()
    live.recorder.publish(topic(METER, "blob", "get"), "")
    assert live.recorder.wait(topic(METER, "blob"), since=since).json["value"] == "0a1b"
    assert live.set("blob", '{"raw":"c0ffee"}')["status"] == "ok"
    assert live.simulator.ask(f"get {METER} blob") == "c0ffee"


def test_where_only_commands_are_offered_a_write_is_a_command(live):
    assert live.set("knob", "3")["status"] == "ok"
    assert live.simulator.ask(f"writes {METER} knob") == "command:03"


@variant
def test_where_both_are_offered_a_write_is_a_request(live):
    assert live.set("either", "3")["status"] == "ok"
    assert live.simulator.ask(f"writes {METER} either") == "request:03"


def test_response_false_makes_a_write_a_command(house):
    live = Live(house)
    config = settings(live.proxy.port)
    config["devices"][METER]["characteristics"]["either"]["response"] = False
    live.gateway.stop()
    since = live.recorder.mark()
    live.gateway = house.gateway(config)
    live.recorder.wait(AVAILABILITY, "online", since, 15 * SLACK)
    assert live.set("either", "3")["status"] == "ok"
    assert live.simulator.ask(f"writes {METER} either") == "command:03"


def test_what_cannot_be_read_back_is_published_as_assumed(live):
    since = live.recorder.mark()
    assert live.set("blind", "9")["status"] == "ok"
    value = live.recorder.wait(topic(METER, "blind"), since=since).json
    assert (value["value"], value["assumed"]) == (9, True)


def test_a_set_of_one_field_leaves_the_others(house):
    live = Live(house)
    config = settings(live.proxy.port)
    config["devices"][METER]["characteristics"]["blob"].update(
        {"set": "merge", "fields": {"hue": {"type": "uint8"}, "speed": {"type": "uint8"}}})
    live.gateway.stop()
    since = live.recorder.mark()
    live.gateway = house.gateway(config)
    live.recorder.wait(AVAILABILITY, "online", since, 15 * SLACK)
    live.simulator.ask(f"value {METER} blob 0a1bee")
    result = live.set("blob", '{"speed":7}')  # it is read before
    assert (result["status"], result["data"]["hue"], result["data"]["speed"]) == ("ok", 10, 7)
    assert live.simulator.ask(f"writes {METER} blob") == "request:0a07ee"
    live.recorder.publish(topic(METER, "blob", "set/hue"), "1")
    assert live.set("blob", '{"speed":2}')["status"] == "ok"
    live.recorder.wait(topic(METER, "blob"), lambda m: (m.json["hue"], m.json["speed"]) == (1, 2),
                       since)
    assert live.simulator.ask(f"get {METER} blob") == "0102ee"


def test_a_write_that_the_peripheral_refuses_is_answered_with_its_error(live):
    since = live.recorder.mark()
    result = live.set("locked", "9")
    assert result["status"] == "error"
    assert result["error"]["message"]
    assert live.simulator.ask(f"get {METER} locked") == "07"
    assert live.recorder.on(topic(METER, "locked"), since) == []


@variant
@pytest.mark.parametrize("characteristic, payload, code", [
    ("setting", '{"value":', "bad_json"),
    ("setting", '{"nonsense":1}', "invalid_value"),
    ("setting", "65536", "invalid_value"),
    ("setting", "-1", "invalid_value"),
    ("setting", "", "invalid_value"),
    ("setting", '{"raw":"0"}', "invalid_value"),
    ("setting", '{"raw":"' + "00" * 513 + '"}', "value_too_long"),
], ids=["broken-json", "unknown-field", "above", "below", "empty", "half-a-byte", "too-long"])
def test_a_bad_set_is_answered_and_writes_nothing(live, characteristic, payload, code):
    result = live.set(characteristic, payload)
    assert result["status"] == "error"
    assert result["error"]["code"] == code, result
    assert live.simulator.ask(f"writes {METER} {characteristic}") == ""


@pytest.mark.parametrize("protocol", ["3.1.1", pytest.param("5", marks=pytest.mark.variant)])
def test_retained_commands_never_act(house, protocol):
    broker = house.broker()
    recorder = house.recorder(broker.port)
    request = {"device": METER, "characteristic": "setting", "value": 1}
    for retained, payload in (
            (topic(METER, "setting", "set"), "1"), (topic(METER, "setting", "set", "value"), "1"),
            (topic(METER, "setting", "get"), ""), (topic(METER, "command", "go"), "{}"),
            (topic("bridge", GATEWAY, "request", "write"), json.dumps(dict(request, id="r")))):
        recorder.publish(retained, payload or " ", retain=True)
    simulator = house.simulate(peripherals())
    config = settings(broker.port, protocol=protocol)
    config["devices"][METER]["commands"] = {
        "go": {"steps": [{"write": {"characteristic": "setting", "value": {"value": 1}}}]}}
    house.gateway(config)
    recorder.wait(AVAILABILITY, "online", timeout=15 * SLACK)
    since = recorder.mark()
    recorder.publish(topic(METER, "setting", "set"), "2")
    recorder.wait(topic(METER, "setting", "result"), since=since)
    recorder.wait(topic(METER, "setting"), lambda m: m.json["value"] == 2, since)
    assert simulator.ask(f"writes {METER} setting") == "request:0200"
    assert len(recorder.on(topic(METER, "setting", "result"))) == 1
    assert not recorder.on(topic(METER, "command", "go", "result"))
    assert not recorder.on(topic("bridge", GATEWAY, "response", "write"))


def test_a_command_for_an_absent_peripheral_is_answered_not_connected(house):
    broker = house.broker()
    recorder = house.recorder(broker.port)
    world = peripherals()
    world["peripherals"][METER]["present"] = False
    house.simulate(world)
    config = settings(broker.port)
    config["devices"][METER]["queue_timeout"] = "1s"
    house.gateway(config)
    recorder.wait(AVAILABILITY, "offline", timeout=15 * SLACK)
    recorder.wait(topic("other", "status/availability"), "online", timeout=15 * SLACK)
    recorder.publish(topic(METER, "setting", "set"), "2")
    result = recorder.wait(topic(METER, "setting", "result"), timeout=5 * SLACK).json
    assert result["error"]["code"] == "not_connected"

"""Every operation, and every error code of the manual but `internal`: each is had once, by a request
that a user could send, and each request is answered exactly once."""

import glob
import json
import re

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
import pytest

from harness import ROOT, SLACK, wait_until
from test_requests import REQUEST, RESPONSE, ask
from world import METER, Live, peripherals, settings, topic, uuid

LOCK, STUBBORN, ABSENT = "lock", "stubborn", "absent"

OPERATIONS = {"write", "read", "subscribe", "unsubscribe", "connect", "disconnect", "pause", "resume",
              "command", "scan", "inspect", "pair", "unpair", "clear_cache", "reload", "log_level"}


def world():
    simulated = peripherals()
    [service] = simulated["peripherals"][METER]["services"]
    for each in service["characteristics"]:
        if each["id"] == "locked":
            each["write_error"] = 0x81  # the application's own; 3 is BlueZ's NotPermitted: read_only
    simulated["peripherals"][LOCK] = {
        "address": "C8:00:00:00:0E:04", "address_type": "random", "interval": "100ms",
        "pairing": {"passkey": 4711},
        "services": [{"uuid": uuid(2), "characteristics": [
            {"id": "bolt", "uuid": uuid(0x20), "properties": ["read"], "value": "01",
             "encrypted": True}]}],
    }
    simulated["peripherals"][STUBBORN] = {
        "address": "C8:00:00:00:0E:05", "address_type": "random", "interval": "100ms",
        "services": [{"uuid": uuid(3), "characteristics": []}],
    }
    return simulated


def devices():
    found = settings(0)["devices"]
    found[METER]["commands"] = {"look": {"steps": [{"read": {"characteristic": "level"}}]}}
    found[LOCK] = {"match": {"address": "C8:00:00:00:0E:04"},
                   "characteristics": {"bolt": {"uuid": uuid(0x20)}}}
    for name, number in ((STUBBORN, 5), (ABSENT, 6)):
        found[name] = {"match": {"address": f"C8:00:00:00:0E:0{number}"}, "connection": "on_demand",
                       "characteristics": {"value": {"uuid": uuid(0x21)}}}
    return found


@pytest.fixture
def live(house):
    return Live(house, protocol=5, simulated=world(),
                more={"devices": devices(), "commands": {"allow": sorted(OPERATIONS)}})


class Asker:
    """Sends requests with an id each, and knows what was answered to which."""

    def __init__(self, live):
        self.live = live
        self.sent = []

    def send(self, operation, request=None, text=None, expiry=None, **more):
        number = f"r{len(self.sent)}"
        self.sent.append(number)
        payload = text or json.dumps(dict(request or {}, id=number, **more))
        if expiry is None:
            self.live.recorder.publish(f"{REQUEST}/{operation}", payload)
        else:
            properties = Properties(PacketTypes.PUBLISH)
            properties.MessageExpiryInterval = expiry
            client = paho.Client(protocol=paho.MQTTv5)
            client.connect("127.0.0.1", self.live.broker.port)
            client.loop_start()
            client.publish(f"{REQUEST}/{operation}", payload, 1, properties=properties
                           ).wait_for_publish(10)
            client.disconnect()
            client.loop_stop()
        return number

    def answers(self, number):
        with self.live.recorder.changed:
            every = [each for each in self.live.recorder.messages
                     if each.topic.startswith(RESPONSE + "/")]
        return [each for each in every if each.json["id"] == number]

    def answer(self, number, timeout=10):
        found = wait_until(lambda: self.answers(number), timeout * SLACK, f"an answer to {number}")
        return found[0].json

    def code(self, operation, request=None, timeout=10, **more):
        answer = self.answer(self.send(operation, request, **more), timeout)
        return answer["error"]["code"] if answer["status"] == "error" else "ok"


def documented():
    """The codes of the manual, by its list of them."""
    with open(f"{ROOT}/deploy/man/gatt2mqtt.1") as manual:
        codes = manual.read().split("\nThe codes are:\n", 1)[1].split("\n.El\n", 1)[0]
    return {code for line in re.findall(r"^\.It Li (.*)$", codes, re.M) for code in line.split(" , ")}


ANSWERING = (r"\b(?:command_answer_error|ops_fail|step_fail|errand_fail|ops_cancel_all|refuse|cancel"
             r"|errand_cancel_linked)\(([^;]*?)\);")


def test_the_manual_has_every_code_that_the_program_answers():
    used = set()
    for path in glob.glob(f"{ROOT}/src/core/*.c"):
        with open(path) as source:
            for call in re.findall(ANSWERING, source.read(), re.S):
                used |= set(re.findall(r'(?<!%)"([a-z]+(?:_[a-z]+)*)"', call))
    used -= {"with", "without"}  # of a sentence
    assert {"bad_json", "queue_full", "pair_failed"} <= used
    assert used <= documented()


def test_every_operation_is_answered_once(live):
    asker = Asker(live)
    setting = {"device": METER, "characteristic": "setting"}
    stream = {"device": METER, "characteristic": "stream"}
    requests = [
        ("write", dict(setting, value=7)), ("read", setting), ("unsubscribe", stream),
        ("subscribe", stream), ("command", {"device": METER, "command": "look"}),
        ("scan", {"duration": "1s"}), ("inspect", {"device": METER}),
        ("pair", {"device": LOCK, "passkey": 4711}), ("unpair", {"device": LOCK}),
        ("clear_cache", {"device": "other"}), ("disconnect", {"device": METER}),
        ("connect", {"device": METER}), ("pause", {"device": METER}), ("resume", {"device": METER}),
        ("reload", {}), ("log_level", {"level": "debug"}),
    ]
    assert {operation for operation, _ in requests} == OPERATIONS
    for operation, request in requests:
        number = asker.send(operation, request)
        answer = asker.answer(number, 20)
        assert answer["status"] == "ok", f"{operation}: {answer}"
        if operation == "command":
            assert answer["data"]["level"]["value"] == 42
        [message] = asker.answers(number)
        assert message.topic == f"{RESPONSE}/{operation}"
        assert not message.retain
    live.gateway.stop()
    assert all(len(asker.answers(number)) == 1 for number in asker.sent)


def test_every_error_code_is_had_by_a_request_that_is_answered_once(live):
    asker, simulator, had = Asker(live), live.simulator, {}
    code = asker.code

    def meter(characteristic):
        return {"device": METER, "characteristic": characteristic}

    since = live.recorder.mark()
    live.recorder.publish(f"{REQUEST}/read", "{")
    answer = live.recorder.wait(f"{RESPONSE}/read", since=since).json
    assert answer["id"] is None
    had["bad_json"] = answer["error"]["code"]

    had["bad_request"] = code("read", meter("setting"), colour=1)
    number = asker.send("dance")
    had["unknown_op"] = asker.answer(number)["error"]["code"]
    assert asker.answers(number)[0].topic == f"{RESPONSE}/unknown"
    had["unknown_device"] = code("read", meter("setting"), device="x")
    had["unknown_characteristic"] = code("read", meter("x"))
    had["invalid_value"] = code("write", meter("setting"), value=70000)
    had["value_too_long"] = code("write", meter("blob"), raw="00" * 513)
    had["read_only"] = code("write", meter("level"), value=1)
    had["write_only"] = code("read", meter("blind"))
    number = asker.send("write", meter("locked"), value=1)
    had["att_error"] = asker.answer(number)["error"]["code"]
    assert asker.answer(number)["error"]["att"] == 0x81
    had["not_supported"] = code("write", meter("setting"), value=1, response=False)
    had["not_authorized"] = code("read", device=LOCK, characteristic="bolt")
    had["pair_failed"] = code("pair", device=LOCK, timeout=20)
    had["not_connected"] = code("read", device=ABSENT, characteristic="value", queue_timeout="0s")
    simulator.ask(f"refuse {STUBBORN} on")
    had["connect_failed"] = code("connect", {"device": STUBBORN, "timeout": "3s"})

    simulator.ask(f"slow {METER} 1000")
    had["timeout"] = code("read", {**meter("setting"), "timeout": "300ms"})
    first = asker.send("inspect", {"device": METER, "values": True})
    had["in_progress"] = code("inspect", {"device": METER})
    simulator.ask(f"slow {METER} 0")
    assert asker.answer(first, 20)["status"] == "ok"

    simulator.ask(f"slow {METER} 1000")
    many = [asker.send("read", meter("setting")) for _ in range(40)]
    codes = [asker.answer(each)["error"]["code"] for each in many[33:]]
    assert set(codes) == {"queue_full"}
    had["queue_full"] = codes[0]
    simulator.ask(f"slow {METER} 0")
    assert all(asker.answer(each, 20)["status"] == "ok" for each in many[:32])

    assert code("pause", device="other") == "ok"
    had["disabled"] = code("read", device="other", characteristic="battery")
    waits = {"device": ABSENT, "characteristic": "value", "queue_timeout": "60s"}
    number = asker.send("read", waits, expiry=1)
    had["expired"] = asker.answer(number)["error"]["code"]

    with open(live.gateway.config) as config:
        good = config.read()
    live.gateway.write(good.replace('"mqtt"', '"mqttt"', 1))
    had["config_invalid"] = code("reload")

    last = asker.send("read", waits)
    simulator.ask("adapter hci0 off")
    had["adapter_off"] = code("connect", {"device": ABSENT, "queue_timeout": "1s"})
    live.gateway.stop()
    had["cancelled"] = asker.answer(last)["error"]["code"]

    assert had == {each: each for each in documented() - {"internal"}}
    assert {each: len(asker.answers(each)) for each in asker.sent} == dict.fromkeys(asker.sent, 1)

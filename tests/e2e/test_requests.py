"""Requests under bridge/<gateway>/request/, from programs that are not this project's."""

import json
import socket
import subprocess

import pytest

from harness import SLACK
from world import AVAILABILITY, GATEWAY, LINK, METER, STREAM, Live, topic

REQUEST = topic("bridge", GATEWAY, "request")
RESPONSE = topic("bridge", GATEWAY, "response")


@pytest.fixture
def live(house):
    return Live(house, protocol=5)


def ask(live, operation, timeout=15, **request):
    """Sends a request, and gives its one answer."""
    since = live.recorder.mark()
    live.recorder.publish(f"{REQUEST}/{operation}", json.dumps(request))
    answer = live.recorder.wait(f"{RESPONSE}/{operation}", since=since, timeout=timeout * SLACK)
    assert answer.json["id"] == request.get("id")
    return answer.json


def mosquitto_rr(live, operation, response_topic, **request):
    """The answer that mosquitto_rr gets, or None."""
    done = subprocess.run(
        ["mosquitto_rr", "-V", "5", "-h", "127.0.0.1", "-p", str(live.broker.port), "-q", "1",
         "-t", f"{REQUEST}/{operation}", "-e", response_topic, "-m", json.dumps(request),
         "-W", str(int(5 * SLACK))],
        capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.stdout else None


def test_mosquitto_rr_reads_and_writes(live):
    answer = mosquitto_rr(live, "write", f"{RESPONSE}/me", id="w", device=METER,
                          characteristic="setting", value=513)
    assert (answer["id"], answer["status"]) == ("w", "ok")
    assert answer["data"]["value"] == 513
    assert live.simulator.ask(f"writes {METER} setting") == "request:0102"
    answer = mosquitto_rr(live, "read", f"{RESPONSE}/me", id=2, device=METER,
                          characteristic="setting")
    assert (answer["id"], answer["data"]["value"]) == (2, 513)


def test_an_answer_goes_nowhere_else_than_it_may(live):
    since = live.recorder.mark()
    assert mosquitto_rr(live, "write", topic(METER, "setting", "set"), device=METER,
                        characteristic="setting", value=1) is None
    answer = live.recorder.wait(f"{RESPONSE}/write", since=since, timeout=5 * SLACK).json
    assert answer["error"]["code"] == "bad_request"
    assert live.simulator.ask(f"writes {METER} setting") == ""


def test_the_same_request_acts_once(live):
    request = {"id": "once", "device": METER, "characteristic": "setting", "value": 7}
    first = ask(live, "write", **request)
    assert ask(live, "write", **request) == first
    assert live.simulator.ask(f"writes {METER} setting") == "request:0700"
    request["value"] = 8
    assert ask(live, "write", **request)["error"]["code"] == "bad_request"


def publish_twice(port, name, payload):
    """As a client does whose connection broke before the PUBACK: the second has the DUP flag."""
    text = name.encode()
    body = len(text).to_bytes(2, "big") + text + b"\x00\x01" + payload.encode()
    assert 128 <= len(body) < 16384
    length = bytes([len(body) % 128 | 128, len(body) // 128])
    for first in (0x32, 0x3A):  # PUBLISH, QoS 1; and DUP: MQTT 3.1.1, 3.3.1
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            # CONNECT with a session that stays, so that it is one client's message
            client.sendall(b"\x10\x10\x00\x04MQTT\x04\x00\x00\x3c\x00\x04twin")
            assert client.recv(4)[3] == 0
            client.sendall(bytes([first]) + length + body)
            assert client.recv(4)[0] == 0x40


def test_a_request_that_is_delivered_twice_acts_once(live):
    since = live.recorder.mark()
    publish_twice(live.broker.port, f"{REQUEST}/write", json.dumps(
        {"id": "twin", "device": METER, "characteristic": "setting", "value": 7,
         "timeout": "10s", "queue_timeout": "10s"}))
    live.recorder.wait_count(f"{REQUEST}/write", 2, since)  # the broker gave it to everybody twice
    answers = live.recorder.wait_count(f"{RESPONSE}/write", 2, since, 2)
    ask(live, "read", device=METER, characteristic="setting")  # both are through
    assert live.simulator.ask(f"writes {METER} setting") == "request:0700"
    assert 1 <= len(answers) <= 2
    assert {each.text for each in answers} == {answers[0].text}
    assert answers[0].json["status"] == "ok"


def test_what_is_wrong_is_answered(live):
    read = {"device": METER, "characteristic": "setting"}
    assert ask(live, "read", **dict(read, colour=1))["error"]["code"] == "bad_request"
    assert ask(live, "read", **dict(read, device="x"))["error"]["code"] == "unknown_device"
    assert ask(live, "pair", device=METER)["error"]["code"] == "not_authorized"
    assert ask(live, "write", **dict(read, characteristic="locked", value=1))["error"]["message"]
    since = live.recorder.mark()
    live.recorder.publish(f"{REQUEST}/dance", "{}")
    answer = live.recorder.wait(f"{RESPONSE}/unknown", since=since, timeout=5 * SLACK).json
    assert answer["error"]["code"] == "unknown_op"
    since = live.recorder.mark()
    live.recorder.publish(f"{REQUEST}/read", "x" * 70000)
    answer = live.recorder.wait(f"{RESPONSE}/read", since=since, timeout=5 * SLACK).json
    assert answer["error"]["code"] == "bad_request"


def test_unsubscribe_and_subscribe(live):
    assert ask(live, "unsubscribe", device=METER, characteristic="stream")["status"] == "ok"
    assert ask(live, "read", device=METER, characteristic="level")["status"] == "ok"
    with pytest.raises(AssertionError, match="nobody is subscribed"):
        live.simulator.ask(f"notify {METER} stream 1 50")
    answer = ask(live, "subscribe", device=METER, characteristic="stream")
    assert answer["data"] == {"subscribed": True}
    live.works(live.recorder.mark(), 5 * SLACK)


def test_pause_and_resume(live):
    since = live.recorder.mark()
    answer = ask(live, "pause", device=METER)
    assert answer["data"] == {"state": "disabled", "paused_until": None}
    live.recorder.wait(AVAILABILITY, "offline", since, 5 * SLACK)
    link = live.recorder.wait(LINK, lambda m: m.json["state"] == "disabled", since, 5 * SLACK)
    assert link.json["reason"] == "paused"
    assert live.simulator.connected(METER) is False
    assert live.set("setting", "1")["error"]["code"] == "disabled"
    since = live.recorder.mark()
    assert ask(live, "resume", device=METER)["status"] == "ok"
    live.recorder.wait(AVAILABILITY, "online", since, 15 * SLACK)


def test_disconnect_and_connect(live):
    since = live.recorder.mark()
    assert "away_until" in ask(live, "disconnect", device=METER)["data"]
    live.recorder.wait(AVAILABILITY, "offline", since, 5 * SLACK)
    answer = ask(live, "connect", device=METER)
    assert answer["data"]["state"] == "online"

"""A broker that misbehaves: frozen, forgetful, unwilling, narrow, or thinking we are somebody else."""

import os
import re
import signal
import socket
import subprocess
import time

import pytest

import harness
import scripted
from harness import SLACK, variant, wait_until
from test_broker import BACK, RATE, assert_complete
from test_login import PASSWORD, password_file, secret
from test_service import Manager
from world import (AVAILABILITY, GATEWAY, LINK, METER, OTHER_AVAILABILITY, STATUS, STREAM, Live,
                   peripherals, settings, topic)

LEVEL = topic(METER, "level")
BRIDGE = [topic("bridge", GATEWAY, last) for last in ("status", "info", "devices")]


def log_of(gateway):
    """What it says without being asked for more: lines above debug."""
    return [line for line in gateway.process.text().splitlines() if " debug" not in line.lower()]


def said(gateway, words):
    return [line for line in log_of(gateway) if words in line]


def connects(house):
    """How often the gateway's client id has connected."""
    with open(os.path.join(house.dir, "mosquitto.messages"), errors="replace") as log:
        return len(re.findall(rf"New client connected from .* as gatt2mqtt-{GATEWAY} ", log.read()))


def is_broker_told(line, *words):
    return line.startswith("STATUS=") and all(word in line for word in words)


# ---- forgetful


@pytest.mark.parametrize("protocol, end", [("3.1.1", signal.SIGKILL), (5, signal.SIGTERM),
                                           pytest.param(5, signal.SIGKILL, marks=variant)])
def test_a_broker_restarted_without_its_memory_gets_all_of_it_again(house, protocol, end):
    live = Live(house, protocol=protocol)
    live.recorder.wait(LEVEL, lambda m: m.json["value"] == 42, timeout=5 * SLACK)  # on_connect
    live.simulator.ask(f"notify {METER} level 1 10")  # and then never again
    before = live.recorder.wait(LEVEL, lambda m: m.json["value"] == 1, timeout=5 * SLACK)
    live.broker.process.end(end)
    live.proxy.refuse()
    assert live.broker.start()
    live.proxy.heal()
    # whoever comes later finds all that was retained
    early = house.recorder(live.broker.port)
    early.wait(STATUS, "online", timeout=BACK)
    early.wait(LEVEL, timeout=10 * SLACK)
    late = house.recorder(live.broker.port)
    for each in [*BRIDGE, AVAILABILITY, OTHER_AVAILABILITY, LINK, LEVEL]:
        assert late.wait(each, timeout=5 * SLACK).retain
    assert late.on(LEVEL)[0].json == before.json, "not as it was, with the time it had"
    assert late.on(AVAILABILITY)[0].text == late.on(OTHER_AVAILABILITY)[0].text == "online"


@pytest.mark.parametrize("protocol", [pytest.param("3.1.1", marks=variant), 5])
def test_a_broker_that_remembers_gets_no_value_twice(house, protocol):
    live = Live(house, protocol=protocol)
    live.recorder.wait(LEVEL, lambda m: m.json["value"] == 42, timeout=5 * SLACK)  # on_connect
    live.simulator.ask(f"notify {METER} level 1 10")
    live.recorder.wait(LEVEL, lambda m: m.json["value"] == 1, timeout=5 * SLACK)
    live.works(0, 5 * SLACK)  # by then the value has long been acknowledged
    since = live.recorder.mark()
    live.proxy.drop()
    live.recorder.wait(STATUS, "online", since, BACK)
    live.works(since, 5 * SLACK)
    assert live.recorder.on(LEVEL, since) == []


# ---- frozen


@pytest.mark.timeout(300)
@pytest.mark.parametrize("end, protocol", [("thaw", "3.1.1"), ("restart", 5)])
def test_a_frozen_broker_is_noticed_and_gets_everything_later(house, end, protocol):
    manager = Manager(house.dir)
    live = Live(house, protocol=protocol, keepalive="5s", notify_socket=manager.path)
    count = int(RATE * 25)
    live.simulator.ask(f"notify {METER} stream {count} {RATE}")
    live.recorder.wait_count(STREAM, RATE, timeout=10 * SLACK)
    live.broker.process.send(signal.SIGSTOP)
    manager.forget()
    manager.hear(lambda line: is_broker_told(line, "broker not connected"), 20 * SLACK)
    # Bluetooth goes on meanwhile
    live.simulator.ask("drop other")
    wait_until(lambda: not live.simulator.connected("other"), 5 * SLACK, "the link is lost")
    wait_until(lambda: live.simulator.connected("other"), 10 * SLACK, "the link is back")
    if end == "thaw":
        live.broker.process.send(signal.SIGCONT)
        recorders = [live.recorder]
    else:
        live.broker.kill()
        live.broker.start()
        recorders = [live.recorder, house.recorder(live.broker.port)]
    recorders[-1].wait(STREAM, lambda m: m.json["value"] == count, timeout=30 + BACK)
    assert_complete([each for one in recorders for each in one.on(STREAM)], count)


# ---- unwilling


@pytest.mark.timeout(300)
@pytest.mark.parametrize("protocol", ["3.1.1", 5])
def test_a_refused_login_is_said_tried_slowly_and_made_good(house, protocol):
    manager = Manager(house.dir)
    broker = house.broker(access=password_file(house))
    house.simulate(peripherals())
    gateway = house.gateway(settings(broker.port, protocol=protocol, username="gateway",
                                     password=secret(house, "new password")),
                            env={"NOTIFY_SOCKET": manager.path})
    manager.hear(lambda line: is_broker_told(line, "user name and password"), 15 * SLACK)
    time.sleep(10)  # for how long it is refused; nothing is waited for
    tries = len(re.findall("next try", gateway.process.text()))
    assert 2 <= tries <= 7
    assert len(said(gateway, "user name and password")) == 1, "said again and again"
    # somebody gives the account that password
    path = os.path.join(house.dir, "accounts")
    subprocess.run(["mosquitto_passwd", "-b", path, "gateway", "new password"], check=True,
                   capture_output=True)
    subprocess.run(["mosquitto_passwd", "-b", path, "reader", PASSWORD], check=True,
                   capture_output=True)
    broker.process.send(signal.SIGHUP)

    def reader():
        try:
            return house.recorder(broker.port, login=("reader", PASSWORD))
        except AssertionError:
            return None

    recorder = wait_until(reader, 20 * SLACK, "the broker knows the new accounts")
    recorder.wait(STATUS, "online", timeout=30 * SLACK)
    recorder.wait(AVAILABILITY, "online", timeout=15 * SLACK)
    manager.hear(lambda line: is_broker_told(line, "broker connected"), 5 * SLACK)


def access_rules(house, *rules):
    path = os.path.join(house.dir, "acl")
    with open(path, "w") as out:
        out.write("\n".join([*(f"topic {rule}" for rule in rules), "topic readwrite #", ""]))
    return f"allow_anonymous true\nacl_file {path}"


@pytest.mark.timeout(200)
def test_denied_topics_are_said_once_and_counted_and_the_rest_goes_on(house):
    broker = house.broker(access=access_rules(house, f"deny {STREAM}",
                                              f"deny {topic(METER, 'setting', 'set')}"))
    recorder = house.recorder(broker.port)
    simulator = house.simulate(peripherals())
    gateway = house.gateway(settings(broker.port, protocol=5))
    recorder.wait(AVAILABILITY, "online", timeout=15 * SLACK)
    simulator.ask(f"notify {METER} stream 100 100")
    wait_until(lambda: said(gateway, STREAM), 5 * SLACK, "the log says which topic")
    simulator.ask(f"notify {METER} level 3 10")
    recorder.wait(LEVEL, lambda m: m.json["value"] == 3, timeout=10 * SLACK)
    # commands: one is denied, the other not
    recorder.publish(topic(METER, "setting", "set"), "7")
    recorder.publish(topic(METER, "either", "set"), "7")
    recorder.wait(topic(METER, "either", "result"), lambda m: m.json["status"] == "ok")
    assert recorder.on(topic(METER, "setting", "result")) == []
    assert recorder.on(STREAM) == []
    health = recorder.wait(topic("bridge", GATEWAY, "health"), timeout=70 * SLACK)
    assert health.json["rejected"] == 100
    assert health.json["queued"] == 0
    lines = said(gateway, STREAM)
    assert len(lines) == 1 and "access rules" in lines[0]


def test_a_refused_subscription_is_said(house):
    broker = house._own(scripted.Scripted(suback=0x87))
    gateway = house.gateway(settings(broker.port, protocol=5))
    wait_until(lambda: said(gateway, topic(METER, "+/set/#")), 10 * SLACK, "the log says so")
    assert "access rules" in said(gateway, topic(METER, "+/set/#"))[0]
    broker.wait(lambda: STATUS in broker.topics, 5 * SLACK, "what may be published is")


# ---- two with one name


@pytest.mark.timeout(200)
@pytest.mark.parametrize("protocol", ["3.1.1", pytest.param(5, marks=variant)])
def test_two_gateways_with_one_id_do_not_fight(house, protocol):
    broker = house.broker()
    other = harness.House()
    try:
        first = house.gateway(settings(broker.port, protocol=protocol))
        second = other.gateway(settings(broker.port, protocol=protocol))
        wait_until(lambda: said(first, "client id") and said(second, "client id"), 60 * SLACK,
                   "both say what is wrong")
        before = connects(house)
        assert before < 20
        time.sleep(20)  # how long they are watched; nothing is waited for
        assert connects(house) - before <= 5
        assert first.stop() < 2 * SLACK
    finally:
        complaints = other.close()
    assert not complaints


def test_who_is_thrown_out_once_is_back_at_once_and_the_second_time_waits(house):
    manager = Manager(house.dir)
    broker = house._own(scripted.Scripted())
    broker.farewell = scripted.packet(scripted.DISCONNECT, b"\x8e\x00")  # session taken over
    gateway = house.gateway(settings(broker.port, protocol=5), env={"NOTIFY_SOCKET": manager.path})
    broker.wait(lambda: broker.connects == 2, 5 * SLACK, "it comes back")
    manager.hear(lambda line: is_broker_told(line, "same client id", "again"), 5 * SLACK)
    time.sleep(5)  # how long it is watched; nothing is waited for
    assert broker.connects == 2
    assert said(gateway, "same client id")


# ---- narrow


LIMIT = 600  # less than the list of devices has


@pytest.mark.timeout(200)
@pytest.mark.parametrize("protocol", ["3.1.1", 5])
def test_a_message_too_large_for_the_broker_keeps_nothing_else_away(house, protocol):
    broker = house.broker(access=f"allow_anonymous true\nmax_packet_size {LIMIT}")
    recorder = house.recorder(broker.port)
    simulator = house.simulate(peripherals())
    config = settings(broker.port, protocol=protocol)
    config["home_assistant"] = {"discovery": "off"}  # its documents would be too large, too
    gateway = house.gateway(config)
    devices = topic("bridge", GATEWAY, "devices")
    words = "larger than the broker allows"
    wait_until(lambda: said(gateway, words), 30 * SLACK, "the log says which message")
    assert devices in said(gateway, words)[0]
    recorder.wait(AVAILABILITY, "online", timeout=30 * SLACK)
    recorder.wait(STATUS, "online", timeout=30 * SLACK)
    simulator.ask(f"notify {METER} stream 100 100")
    recorder.wait(STREAM, lambda m: m.json["value"] == 100, timeout=10 * SLACK)
    # MQTT 5 told the limit; with 3.1.1 it was found out, and is remembered
    assert connects(house) == (1 if protocol == 5 else 4)
    assert len(said(gateway, words)) == 1
    assert recorder.on(devices) == []


@pytest.mark.parametrize("protocol", ["3.1.1", 5])
def test_one_message_at_a_time_is_enough(house, protocol):
    live = Live(house, access="allow_anonymous true\nmax_inflight_messages 1", protocol=protocol)
    live.simulator.ask(f"notify {METER} stream 1000 200")
    live.recorder.wait(STREAM, lambda m: m.json["value"] == 1000, timeout=10 * SLACK)
    assert [m.json["value"] for m in live.recorder.on(STREAM)] == list(range(1, 1001))


# ---- elsewhere


@pytest.mark.parametrize("when", ["at-login", "later"])
def test_a_redirection_is_said_and_not_followed(house, when):
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(3)
        where = f"127.0.0.1:{elsewhere.getsockname()[1]}"
        reference = scripted.server_reference(where)
        broker = house._own(scripted.Scripted())
        if when == "at-login":
            broker.answer = scripted.connack(0x9D, reference)
        else:
            broker.farewell = scripted.packet(scripted.DISCONNECT,
                                              bytes([0x9C, len(reference)]) + reference)
        gateway = house.gateway(settings(broker.port, protocol=5))
        broker.wait(lambda: broker.connects >= 3, 15 * SLACK, "it is tried again")
        lines = said(gateway, "does not follow")
        assert lines and ("moved" in lines[0] or "another server" in lines[0])
        assert when == "at-login" or where in lines[0]  # Paho does not hand out the former
        with pytest.raises(socket.timeout):
            elsewhere.accept()
    broker.answer, broker.farewell = scripted.connack(), b""
    broker.wait(lambda: STATUS in broker.topics, 30 * SLACK, "it is online once it is let in")


def test_a_proxy_without_a_broker_behind_is_said_and_tried_again(house):
    broker = house.broker()
    broker.kill()
    proxy = house.proxy(broker.port)
    gateway = house.gateway(settings(proxy.port))
    wait_until(lambda: said(gateway, "proxy whose broker is down"), 10 * SLACK, "the log says so")
    assert broker.start()
    recorder = house.recorder(broker.port)
    recorder.wait(STATUS, "online", timeout=BACK)

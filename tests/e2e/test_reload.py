"""The configuration changes while everything runs: SIGHUP, and a request over MQTT."""

import copy
import os
import signal
import subprocess

import pytest

from harness import SLACK, wait_until
from world import (AVAILABILITY, GATEWAY, LINK, METER, OTHER_AVAILABILITY, STATUS, STREAM, Live,
                   settings, topic)

EVENT = topic("bridge", GATEWAY, "event")
INFO = topic("bridge", GATEWAY, "info")
REQUEST = topic("bridge", GATEWAY, "request", "reload")
RESPONSE = topic("bridge", GATEWAY, "response", "reload")


class Reloadable(Live):
    """A gateway whose configuration the test changes."""

    def __init__(self, house, **mqtt):
        super().__init__(house, **mqtt)
        self.config = settings(self.proxy.port, **mqtt)
        self.config["commands"] = {"allow": ["read", "write", "reload"]}
        self.reload()

    def change(self, config=None):
        self.gateway.write(self.config if config is None else config)

    def reload(self, config=None, timeout=10 * SLACK):
        """Changes the file and sends SIGHUP; gives the event."""
        self.change(config)
        since = self.recorder.mark()
        self.gateway.process.send(signal.SIGHUP)
        return self.recorder.wait(EVENT, lambda m: m.json["event"].startswith("reload"), since,
                                  timeout).json

    def ask(self, timeout=10 * SLACK):
        """Asks by a request; gives the answer."""
        since = self.recorder.mark()
        self.recorder.publish(REQUEST, "")
        return self.recorder.wait(RESPONSE, None, since, timeout).json

    def connects(self, peripheral):
        """How often it was connected."""
        return self.gateway.process.text().count(f"peer {peripheral}: online after")


def counts(answer):
    return tuple(answer[each] for each in ("added", "removed", "changed", "unchanged"))


def test_only_what_changed_is_touched(house):
    live = Reloadable(house)
    recorder, devices = live.recorder, live.config["devices"]
    since = recorder.mark()

    assert counts(live.reload()) == (0, 0, 0, 2)
    devices[METER]["characteristics"]["level"]["payload"] = "value"
    assert counts(live.reload()) == (0, 0, 1, 1)
    live.simulator.ask(f"value {METER} level 0700")
    recorder.wait(topic(METER, "level"), "7", since, 10 * SLACK)
    assert not recorder.on(AVAILABILITY, since), "it was touched"

    # a subscription more: on the same link
    devices["other"]["characteristics"]["battery"]["subscribe"] = False
    assert counts(live.reload()) == (0, 0, 1, 1)
    assert live.simulator.connected("other")
    devices["other"]["characteristics"]["battery"]["subscribe"] = True
    live.change()
    answer = live.ask()
    assert answer["status"] == "ok" and counts(answer["data"]) == (0, 0, 1, 1)
    hash_now = answer["data"]["configuration"]
    recorder.wait(INFO, lambda m: m.json["configuration"] == hash_now, since, 10 * SLACK)
    recorder.wait(topic("bridge", GATEWAY, "devices"), None, since, 10 * SLACK)
    assert live.connects(METER) == 1 and live.connects("other") == 1
    live.works(recorder.mark(), 10 * SLACK)


def test_devices_come_and_go(house):
    live = Reloadable(house)
    recorder, devices = live.recorder, live.config["devices"]
    since = recorder.mark()
    other = devices.pop("other")

    assert counts(live.reload()) == (0, 1, 0, 1)
    recorder.wait(OTHER_AVAILABILITY, "offline", since, 10 * SLACK)
    recorder.wait(OTHER_AVAILABILITY, "", since, 10 * SLACK)
    recorder.wait(topic("other", "status/link"), "", since, 10 * SLACK)
    wait_until(lambda: not live.simulator.connected("other"), 10 * SLACK, "it is let go")
    # a newcomer finds no trace of it
    late = house.recorder(live.broker.port)
    late.wait(STATUS, "online", timeout=10 * SLACK)
    late.wait(LINK, timeout=10 * SLACK)
    assert not [m for m in late.messages if m.retain and m.topic.startswith(topic("other", ""))]

    since = recorder.mark()
    devices["renamed"] = other
    assert counts(live.reload()) == (1, 0, 0, 1)
    recorder.wait(topic("renamed", "status/availability"), "online", since, 15 * SLACK)
    del devices["renamed"]
    devices["again"] = other  # while its link is up
    since = recorder.mark()
    assert counts(live.reload()) == (1, 1, 0, 1)
    recorder.wait(topic("again", "status/availability"), "online", since, 15 * SLACK)
    assert live.connects(METER) == 1


def test_a_bad_file_changes_nothing_and_says_what_is_wrong(house):
    live = Reloadable(house)
    since = live.recorder.mark()
    bad = copy.deepcopy(live.config)
    bad["devices"][METER]["subscribe"] = True
    del bad["devices"]["other"]

    event = live.reload(bad)
    assert event["event"] == "reload_failed"
    assert "config.yaml:" in event["text"] and "'subscribe'" in event["text"]
    assert "'subscribe'" in live.gateway.process.text()
    answer = live.ask()
    assert answer["error"]["code"] == "config_invalid"
    assert "'subscribe'" in answer["error"]["message"]
    os.unlink(live.gateway.config)
    assert live.ask()["error"]["code"] == "config_invalid"
    os.mkfifo(live.gateway.config)  # nobody writes to it: whoever opened it would wait for ever
    assert "no regular file" in live.ask()["error"]["message"]
    # what stands in topics cannot change
    event = live.reload(dict(live.config, gateway={"id": "other"}))
    assert event["event"] == "reload_failed" and "restart" in event["text"]
    assert not live.recorder.on(OTHER_AVAILABILITY, since)
    live.works(live.recorder.mark(), 10 * SLACK)
    assert counts(live.reload()) == (0, 0, 0, 2)


@pytest.mark.parametrize("notify", ["signal", "socket"])
def test_no_notification_is_lost_or_doubled_while_another_device_changes(house, notify):
    live = Reloadable(house, notify=notify)
    seconds, rate = 8, 50
    since = live.recorder.mark()

    live.simulator.ask(f"notify {METER} stream {seconds * rate} {rate}")
    other = live.config["devices"]["other"]
    for i in range(20):
        other["name"] = f"Other {i}"
        other["characteristics"]["battery"]["qos"] = i % 2
        other["enabled"] = i % 4 != 3
        assert live.reload()["changed"] == 1
    values = [m.json["value"] for m in
              live.recorder.wait_count(STREAM, seconds * rate, since, (seconds + 10) * SLACK)]
    assert values == list(range(1, seconds * rate + 1))
    assert live.connects(METER) == 1


def test_no_notification_is_lost_or_doubled_while_its_own_rules_change(house):
    live = Reloadable(house)
    seconds, rate = 8, 50
    since = live.recorder.mark()

    live.simulator.ask(f"notify {METER} stream {seconds * rate} {rate}")
    stream = live.config["devices"][METER]["characteristics"]["stream"]
    for i in range(20):
        stream["qos"] = 1
        stream["name"] = f"Stream {i}"
        stream["retain"] = i % 2 == 0
        assert live.reload()["changed"] == 1
    values = [m.json["value"] for m in
              live.recorder.wait_count(STREAM, seconds * rate + 10, since, (seconds + 10) * SLACK)
              if m.payload]  # each second change clears what was retained
    assert values == list(range(1, seconds * rate + 1))
    assert live.connects(METER) == 1


def test_another_broker_and_another_login_leave_bluetooth_alone(house):
    live = Reloadable(house)
    secret = os.path.join(house.dir, "secret")
    passwords = os.path.join(house.dir, "passwords")

    with open(secret, "w") as out:
        out.write("first\n")
    os.chmod(secret, 0o600)
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "user", "first"], check=True)
    second = house.second_broker(access=f"allow_anonymous false\npassword_file {passwords}")
    recorder = house.recorder(second.port, login=("user", "first"))
    since = live.recorder.mark()
    live.config["mqtt"].update(url=f"mqtt://127.0.0.1:{second.port}", username="user",
                               password=f"!file {secret}")
    live.change()
    live.gateway.process.send(signal.SIGHUP)
    live.recorder.wait(STATUS, "offline", since, 10 * SLACK)
    recorder.wait(STATUS, "online", timeout=10 * SLACK)
    recorder.wait(AVAILABILITY, "online", timeout=10 * SLACK)

    # the secret is read again, though the file is the same
    mark = recorder.mark()
    with open(secret, "w") as out:
        out.write("second\n")
    live.gateway.process.send(signal.SIGHUP)
    wait_until(lambda: "bad_login" in live.gateway.process.text() or
               "user name" in live.gateway.process.text(), 10 * SLACK, "the login is refused")
    with open(secret, "w") as out:
        out.write("first\n")
    live.gateway.process.send(signal.SIGHUP)
    recorder.wait(STATUS, "online", mark, 10 * SLACK)
    assert live.connects(METER) == 1
    live.recorder = recorder
    live.works(recorder.mark(), 10 * SLACK)


def test_memory_and_descriptors_stay_where_they_are(house):
    live = Reloadable(house)
    pid = live.gateway.process.popen.pid
    devices = live.config["devices"]

    def resident():
        with open(f"/proc/{pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    def rounds(n):
        for i in range(n):
            devices[METER]["name"] = f"Meter {i}"
            devices["other"]["match"]["min_rssi"] = -90 - i % 5
            devices.pop(f"more-{i - 1}", None)
            devices[f"more-{i}"] = {"match": {"address": f"C8:00:00:00:0F:{i % 256:02X}"}}
            live.reload()
        devices.pop(f"more-{n - 1}")

    rounds(50)
    before, files = resident(), len(os.listdir(f"/proc/{pid}/fd"))
    rounds(200)
    assert len(os.listdir(f"/proc/{pid}/fd")) <= files + 1
    if SLACK == 1:  # a sanitizer keeps what was freed
        assert resident() - before < 1024
    wait_until(lambda: live.simulator.connected("other"), 20 * SLACK, "it is connected again")
    assert live.connects(METER) == 1

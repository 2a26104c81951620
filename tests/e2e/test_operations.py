"""Requests that look around, and that make and end bonds."""

import pytest

from harness import SLACK
from test_requests import ask
from world import ADDRESS, AVAILABILITY, METER, Live, peripherals, settings, topic, uuid


def simulated():
    world = peripherals()
    world["peripherals"]["stranger"] = {
        "address": "A4:C1:38:00:0E:03", "name": "Stranger", "rssi": -70, "interval": "100ms",
        "advertise": {"services": [uuid(9)], "manufacturer": {"0x004C": "0215"}},
        "services": [{"uuid": uuid(9), "characteristics": []}],
    }
    return world


@pytest.mark.parametrize("mode", ["active", pytest.param("passive", marks=pytest.mark.variant)])
def test_scan_tells_who_is_there(house, mode):
    live = Live(house, protocol=5, simulated=dict(simulated(), experimental=True),
                more={"bluetooth": {"scan": mode}})
    live.simulator.ask("drop other")
    live.simulator.ask("vanish other")
    answer = ask(live, "scan", duration="2s")
    assert answer["status"] == "ok"
    assert answer["data"]["complete"]
    heard = {each["address"]: each for each in answer["data"]["heard"]}
    assert heard["A4:C1:38:00:0E:03"] == {
        "address": "A4:C1:38:00:0E:03", "address_type": "public", "rssi": -70,
        "adapter": "hci0", "name": "Stranger", "services": [uuid(9)],
        "manufacturer": {"0x004C": "0215"}}
    assert ADDRESS not in heard  # it is connected, and silent
    live.works(live.recorder.mark(), 5 * SLACK)
    assert live.simulator.connected(METER)


LOCK = "lock"
LOCK_LINK = topic(LOCK, "status/link")


@pytest.fixture
def locked(house):
    """A gateway, and a lock that tells its state only to those who know its passkey."""
    world = peripherals()
    world["peripherals"][LOCK] = {
        "address": "C8:00:00:00:0E:04", "address_type": "random", "interval": "100ms",
        "pairing": {"passkey": 4711},
        "services": [{"uuid": uuid(2), "characteristics": [
            {"id": "bolt", "uuid": uuid(0x20), "properties": ["read"], "value": "01",
             "encrypted": True}]}],
    }
    config = settings(0)["devices"]
    config[LOCK] = {"match": {"address": "C8:00:00:00:0E:04"},
                    "characteristics": {"bolt": {"uuid": uuid(0x20)}}}
    return Live(house, protocol=5, simulated=world,
                more={"devices": config, "commands": {"allow": ["read", "pair", "unpair"]}})


def bolt(live):
    return ask(live, "read", device=LOCK, characteristic="bolt")


def test_pairing_with_a_passkey(locked):
    error = bolt(locked)["error"]
    assert error["code"] == "not_authorized" and "`pair`" in error["message"]
    for passkey in [{}, {"passkey": 4712}]:
        error = ask(locked, "pair", device=LOCK, **passkey)["error"]
        assert error["code"] == "pair_failed" and "Authentication Failed" in error["message"]
    assert ask(locked, "pair", device=LOCK, passkey="004711")["data"] == {"paired": True}
    assert bolt(locked)["data"]["value"] == "01"
    already = ask(locked, "pair", device=LOCK)["data"]
    assert already == {"paired": True, "already": True}
    locked.works(locked.recorder.mark(), 5 * SLACK)  # nobody else was disturbed
    assert "4711" not in locked.gateway.process.text()


def test_a_peer_that_has_lost_its_bond_is_paired_anew(locked):
    assert ask(locked, "pair", device=LOCK, passkey=4711)["status"] == "ok"
    since = locked.recorder.mark()
    locked.simulator.ask(f"unbond {LOCK}")
    locked.simulator.ask(f"drop {LOCK}")
    locked.recorder.wait(LOCK_LINK, lambda m: m.json["reason"] == "auth_failed"
                         and "lost its bond" in m.json["why"], since, 5 * SLACK)
    assert ask(locked, "unpair", device=LOCK)["data"] == {"paired": False}
    assert ask(locked, "pair", device=LOCK, passkey=4711)["data"] == {"paired": True}
    assert bolt(locked)["data"]["value"] == "01"


def test_scan_without_bluetooth_says_so(house):
    live = Live(house, protocol=5)
    live.simulator.kill()
    live.recorder.wait("gatt2mqtt/other/status/availability", "offline", timeout=5 * SLACK)
    error = ask(live, "scan", duration="2s")["error"]
    assert (error["code"], error["message"]) == (
        "adapter_off", "bluetoothd is not running (no org.bluez on the system bus)")


def test_clear_cache_finds_everything_anew(house):
    live = Live(house, protocol=5, more={"commands": {"allow": ["clear_cache"]}})
    since = live.recorder.mark()
    assert ask(live, "clear_cache", device=METER)["data"] == {"cleared": True}
    live.recorder.wait(AVAILABILITY, "offline", since, 5 * SLACK)
    live.recorder.wait(AVAILABILITY, "online", since, 15 * SLACK)
    live.works(live.recorder.mark(), 5 * SLACK)


def test_inspect_shows_the_tree_and_its_values(house):
    live = Live(house, protocol=5, more={"commands": {"allow": ["inspect"]}})
    data = ask(live, "inspect", device=METER, values=True)["data"]
    assert data["complete"]
    assert data["mtu"] == 247
    service, = [each for each in data["services"] if each["uuid"] == uuid(1)]
    found = {each["uuid"]: each for each in service["characteristics"]}
    assert (found[uuid(0x11)]["value"], found[uuid(0x11)]["characteristic"]) == ("2a00", "level")
    assert found[uuid(0x11)]["properties"] == ["read", "notify"]
    assert [each["uuid"] for each in found[uuid(0x11)]["descriptors"]] == ["0x2902"]
    assert "value" not in found[uuid(0x15)]
    live.works(live.recorder.mark(), 5 * SLACK)

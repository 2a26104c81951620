"""Twenty simulated devices, and everything around the gateway that can be broken."""

import json
import os
import signal
import threading

import harness
from harness import SLACK

BASE = "gatt2mqtt"
N = 20
SLEEPERS = {16: {"every": "10s", "linger": "2s"}, 17: {"every": "12s", "linger": "1s"},
            18: {"when_seen": {"cooldown": "10s"}, "linger": "1s"},
            19: {"every": "15s", "linger": "3s"}}
RATES = [1, 2, 5, 10, 20, 50]
DEVICES = [f"d{i:02}" for i in range(N)]


def uuid(number):
    return f"5e5e{number:04x}-8d20-4b5a-9a6e-0c0ffee00000"


def address(i):
    return f"C8:00:00:00:C0:{i:02X}"


def rate(i):
    return RATES[i % len(RATES)]


def world(run):
    """The number of the run stands behind the place of the values' own number."""

    def peripheral(i):
        return {
            "address": address(i), "address_type": "random", "name": f"Chaos {i}",
            "rssi": -50 - i, "interval": f"{100 + 20 * i}ms", "advertise": {"services": [uuid(1)]},
            "services": [{"uuid": uuid(1), "characteristics": [
                {"id": "stream", "uuid": uuid(0x10), "properties": ["notify"],
                 "value": (0).to_bytes(4, "little").hex() + run.to_bytes(4, "little").hex()},
                {"id": "level", "uuid": uuid(0x11), "properties": ["read", "write"], "value": "2a00"},
            ]}],
        }

    return {"timing": {"connect": "60ms", "resolve": "80ms"},
            "peripherals": {name: peripheral(i) for i, name in enumerate(DEVICES)}}


def by_socket(i):
    return i % 4 == 1


def settings(port):
    def device(i):
        stream = {"uuid": uuid(0x10), "subscribe": True, "fields": {
            "n": {"type": "uint32"}, "run": {"type": "uint32"}}}
        if by_socket(i):
            stream["notify"] = "socket"
        if i % 5 == 3:
            stream["kind"] = "event"
        level = {"uuid": uuid(0x11), "writable": True, "fields": {"value": {"type": "uint16"}}}
        if i % 3 == 0:
            level["read"] = {"every": "5s"}
        match = {"name": f"Chaos {i}"} if i % 6 == 2 else {"address": address(i)}
        settings = {"match": match, "characteristics": {"stream": stream, "level": level}}
        if i in SLEEPERS:
            settings["connection"] = SLEEPERS[i]
        return settings

    return {
        "mqtt": {"url": f"mqtt://127.0.0.1:{port}", "protocol": 5, "keepalive": "5s",
                 "buffer": {"messages": 200000, "bytes": "64MiB"}},
        "gateway": {"id": "chaos"},
        "bluetooth": {"connections": N},
        "devices": {name: device(i) for i, name in enumerate(DEVICES)},
    }


class Broker(harness.Broker):
    """Remembers what it was told to retain if it is asked to end, and nothing when it is killed."""

    CONFIG = harness.Broker.CONFIG.replace(
        "persistence false", "persistence true\npersistence_location {directory}/").replace(
        "log_type all", "log_type error")

    def store(self):
        return os.path.join(self.directory, "mosquitto.db")

    def end(self, memory):
        self.process.send(signal.SIGCONT)  # it may be frozen
        self.process.end(signal.SIGTERM if memory else signal.SIGKILL)
        if not memory and os.path.exists(self.store()):
            os.unlink(self.store())


class Simulator(harness.Simulator):
    """A new run has new numbers. Asked by two threads."""

    def __init__(self, house):
        self.run = 0
        self.lock = threading.RLock()
        self.alive = False
        super().__init__(house, {})

    def start(self):
        with self.lock:
            self.run += 1
            with open(self.world, "w") as out:
                json.dump(world(self.run), out)
            super().start()
            self.alive = True

    def kill(self):
        with self.lock:
            self.alive = False
            super().kill()

    def close(self):
        if self.alive:
            return super().close()
        return self.process.wait(10)

    def try_ask(self, line):
        """The answer, or None where it cannot be done now."""
        with self.lock:
            if not self.alive:
                return None
            try:
                return self.ask(line)
            except (AssertionError, OSError):
                return None


class Feeder(threading.Thread):
    """Keeps every device notifying while it is subscribed to, two seconds at a time."""

    def __init__(self, simulator):
        super().__init__(daemon=True)
        self.simulator = simulator
        self.on = threading.Event()
        self.ended = threading.Event()

    def run(self):
        while not self.ended.wait(0.3):
            for i, name in enumerate(DEVICES):
                if self.on.is_set():
                    self.simulator.try_ask(f"notify {name} stream {2 * rate(i)} {rate(i)}")


class Recorder(harness.Recorder):
    """Enters into the ledger what arrives, and remembers only how each device is."""

    def __init__(self, port, ledger):
        self.ledger = ledger
        self.availability = {}
        self.results = {}  # the outcome of the last command for each device
        self.lost = threading.Event()
        # QoS 0: what the broker acknowledged to the gateway does not wait for us to acknowledge
        super().__init__(port, [f"{BASE}/+/{each}" for each in
                                ("stream", "status/availability", "level/result")], qos=0)
        self.client.on_disconnect = lambda *_: self.lost.set()
        self.client.reconnect_delay_set(300, 300)  # another one will be made

    def close_after(self):
        """The broker is gone: takes what it sent before."""
        self.lost.wait(10)
        self.close()

    def _on_message(self, _client, _userdata, message):
        levels = message.topic.split("/")
        with self.changed:
            if levels[2:] == ["status", "availability"]:
                self.availability[levels[1]] = message.payload.decode()
            elif levels[2:] == ["level", "result"]:
                self.results[levels[1]] = json.loads(message.payload)["status"]
            elif levels[2:] == ["stream"] and not message.retain:
                value = json.loads(message.payload)
                self.ledger.arrived(levels[1], value["run"], value["n"])
            self.changed.notify_all()

    def offline(self):
        with self.changed:
            return [each for each in DEVICES if self.availability.get(each) != "online"]

    def unanswered(self, devices):
        with self.changed:
            return [each for each in devices if self.results.get(each) != "ok"]

    def ask(self, devices):
        for name in devices:
            self.client.publish(f"{BASE}/{name}/level/get", "")


def memory_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
    return 0


FROM_BLUEZ = "socket from AcquireNotify"


def descriptors(pid):
    """What they are, without numbers. No other socket of the gateway's is SOCK_SEQPACKET."""
    with open(f"/proc/{pid}/net/unix") as table:  # those of its network namespace: more than its own
        rows = [line.split() for line in table][1:]
    packets = {f"socket:[{row[6]}]" for row in rows if row[4] == "0005"}
    found = []
    for each in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{each}")
        except OSError:
            continue
        found.append(FROM_BLUEZ if target in packets else target.split("[")[0].split(":")[0])
    return sorted(found)

"""The peripherals of the end-to-end tests, the configuration for them, and both running."""

from harness import SLACK

METER = "meter"
ADDRESS = "C8:00:00:00:0E:01"
BASE = "gatt2mqtt"
GATEWAY = "e2e"


def uuid(number):
    return f"5e5e{number:04x}-8d20-4b5a-9a6e-0c0ffee00000"


def characteristic(name, number, properties, **more):
    return dict({"id": name, "uuid": uuid(number), "properties": properties}, **more)


def peripherals():
    """A meter with one characteristic for each thing that can happen, and a second peripheral."""
    return {
        "peripherals": {
            METER: {
                "address": ADDRESS,
                "address_type": "random",
                "name": "Meter",
                "rssi": -60,
                "interval": "100ms",
                "advertise": {"services": [uuid(1)]},
                "services": [{
                    "uuid": uuid(1),
                    "characteristics": [
                        characteristic("stream", 0x10, ["notify"], value="00000000"),
                        characteristic("level", 0x11, ["read", "notify"], value="2a00"),
                        characteristic("setting", 0x12, ["read", "write"], value="0000"),
                        characteristic("knob", 0x13, ["read", "write-without-response"],
                                       value="00"),
                        characteristic("either", 0x14,
                                       ["read", "write", "write-without-response"], value="00"),
                        characteristic("blind", 0x15, ["write"], value="00"),
                        characteristic("locked", 0x16, ["read", "write"], value="07",
                                       write_error=3),
                        characteristic("blob", 0x17, ["read", "write"], value="0a1b"),
                    ],
                }],
            },
            "other": {
                "address": "A4:C1:38:00:0E:02",
                "name": "Other",
                "interval": "100ms",
                "advertise": {"services": ["0x180F"]},
                "services": [{
                    "uuid": "0x180F",
                    "characteristics": [{"id": "battery", "uuid": "0x2A19", "value": "57",
                                         "properties": ["read", "notify"]}],
                }],
            },
        }
    }


def settings(port, host="127.0.0.1", protocol="3.1.1", notify="signal", **mqtt):
    def entry(number, kind="uint8", **more):
        return dict({"uuid": uuid(number), "fields": {"value": {"type": kind}}}, **more)

    return {
        "mqtt": dict({"url": f"mqtt://{host}:{port}", "protocol": protocol}, **mqtt),
        "gateway": {"id": GATEWAY},
        "devices": {
            METER: {
                "match": {"address": ADDRESS},
                "characteristics": {
                    "stream": entry(0x10, "uint32", subscribe=True, notify=notify),
                    "level": entry(0x11, "uint16", subscribe=True, read={"on_connect": True}),
                    "setting": entry(0x12, "uint16", writable=True),
                    "knob": entry(0x13, writable=True),
                    "either": entry(0x14, writable=True),
                    "blind": entry(0x15, writable=True),
                    "locked": entry(0x16, writable=True),
                    "blob": {"uuid": uuid(0x17), "writable": True},
                },
            },
            "other": {
                "match": {"address": "A4:C1:38:00:0E:02"},
                "characteristics": {
                    "battery": {"uuid": "0x2A19", "subscribe": True,
                                "fields": {"value": {"type": "uint8"}}},
                },
            },
        },
    }


def topic(*levels):
    return "/".join([BASE, *levels])


AVAILABILITY = topic(METER, "status/availability")
OTHER_AVAILABILITY = topic("other", "status/availability")
LINK = topic(METER, "status/link")
STATUS = topic("bridge", GATEWAY, "status")
STREAM = topic(METER, "stream")


class Live:
    """A gateway at work: house, broker, proxy, recorder, simulator, gateway."""

    def __init__(self, house, access=None, notify_socket=None, simulated=None, more=None, **mqtt):
        self.house = house
        self.broker = house.broker(**({"access": access} if access else {}))
        self.proxy = house.proxy(self.broker.port)
        self.recorder = house.recorder(self.broker.port)
        self.simulator = house.simulate(simulated or peripherals())
        env = {"NOTIFY_SOCKET": notify_socket} if notify_socket else {}
        self.gateway = house.gateway(dict(settings(self.proxy.port, **mqtt), **(more or {})), env=env)
        self.recorder.wait(STATUS, "online", timeout=10 * SLACK)
        self.recorder.wait(AVAILABILITY, "online", timeout=15 * SLACK)
        self.recorder.wait(OTHER_AVAILABILITY, "online", timeout=15 * SLACK)

    def works(self, since, timeout):
        """Whether the meter is subscribed to and notifications come through."""
        self.simulator.ask(f"notify {METER} stream 3 50")
        assert len(self.recorder.wait_count(STREAM, 3, since, timeout)) == 3

    def set(self, characteristic, payload, timeout=10):
        """Writes, and gives the result."""
        since = self.recorder.mark()
        self.recorder.publish(topic(METER, characteristic, "set"), payload)
        name = characteristic.split("/")[0]
        result = topic(METER, name, "result")
        return self.recorder.wait(result, lambda m: m.json["op"] == "set", since, timeout).json

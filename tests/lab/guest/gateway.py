"""The gateway's main job on a real Bluetooth stack: from notifications to MQTT and back, through
lost links and a long absence, without help. LAB_SHORT shortens the absence."""
import json
import os
import signal
import time

import lab
from lab import wait_for

BASE = "gatt2mqtt"
BURST = 1000
RATE = 100
ABSENCE = 120


def topic(*levels):
    return "/".join((BASE,) + levels)


def availability(device):
    return topic(device, "status", "availability")


def numbers(messages):
    return [json.loads(m.payload)["sequence"] for m in messages]


class House:
    """The gateway with all it talks to."""

    def __init__(self, s, settings=""):
        """`settings` is added to the gateway's configuration."""
        self.s = s
        s.start_bluetooth(f"{lab.LAB}/guest/world.yaml")
        self.radio = s.radio
        self.mqtt = lab.Broker(s)
        self.program = lab.share(f"{lab.BUILD}/src/gatt2mqtt", 0o755)
        self.config = lab.share(f"{lab.LAB}/guest/gateway.yaml", 0o644, settings)
        self.start()

    def start(self):
        # any user may run it: the gateway needs no capability, only the bus's default policy
        self.begin = time.time()
        self.gateway = self.s.start("gateway", self.program, "-c", self.config, "--log-level",
                                    "debug" if lab.DEBUG else "info", "run", user="nobody")

    def online(self, device, since, limit):
        """When the device became online after a time."""
        return self.mqtt.wait(availability(device), since, limit,
                              lambda m: m.payload == "online").time

    def streams(self, count, rate):
        """A burst arrives on MQTT: whole, in order, each value once. The time that it took."""
        begin = time.time()
        sent = int(self.radio.ask("sent strap stream"))
        self.radio.ask(f"notify strap stream {count} {rate}")
        self.mqtt.wait_count(topic("strap", "stream"), count, begin, stall=10)
        time.sleep(0.5)  # what would come twice has come by then
        messages = self.mqtt.since(topic("strap", "stream"), begin)
        took = messages[-1].time - messages[0].time
        self.s.check(f"{count} notifications at {rate}/s arrive in order, none lost, none twice",
                     numbers(messages) == list(range(sent + 1, sent + count + 1)),
                     f"{len(messages)} in {took:.2f} s")
        if count >= BURST:  # else this machine was too slow to ask so much
            self.s.check("at that rate", took <= 1.25 * count / rate)

    def subscribed(self):
        """All three subscriptions of the strap deliver: the third is a burst's."""
        begin = time.time()
        value = "00" if self.radio.ask("get strap alarm") == "01" else "01"
        self.radio.ask(f"value strap alarm {value}")
        alarm = self.mqtt.wait(topic("strap", "alarm"), begin, 10)
        self.s.check("an indication arrives",
                     json.loads(alarm.payload)["on"] is (value == "01"), alarm.payload)
        beat = self.mqtt.wait(topic("strap", "heart_rate"), begin, 10)
        self.s.check("heart rate arrives", 60 <= json.loads(beat.payload)["rate"] <= 140,
                     beat.payload)
        self.streams(20, 50)

    def set(self, characteristic, payload):
        """Writes by MQTT; the answer and the seconds until it came."""
        begin = time.time()
        self.mqtt.publish(topic("lamp", characteristic, "set"), payload)
        answer = self.mqtt.wait(topic("lamp", characteristic, "result"), begin, 10)
        self.s.check(f"a write to {characteristic} is answered ok",
                     json.loads(answer.payload)["status"] == "ok", answer.payload)


def start_up(h):
    for device in ("strap", "lamp"):
        at = h.online(device, h.begin, 40)
        h.s.check(f"{device}: found, connected, discovered, subscribed", True,
                  f"online {at - h.begin:.2f} s after the gateway's start")
    h.s.check("it was found by a scan", len(h.radio.events("hci0", "scans actively", h.begin)) > 0)
    h.subscribed()


def reads_and_writes(h):
    for level in (42, 43):  # what the peripheral has now, not what was read before
        begin = time.time()
        h.radio.ask(f"value strap battery {level:02x}")
        h.mqtt.publish(topic("strap", "battery", "get"), "")
        value = h.mqtt.wait(topic("strap", "battery"), begin, 10)
        answer = h.mqtt.wait(topic("strap", "battery", "result"), begin, 10)
        h.s.check("a read is answered and published",
                  json.loads(answer.payload)["status"] == "ok" and
                  json.loads(value.payload)["level"] == level, value.payload)

    h.radio.ask("writes lamp light")
    h.set("requested", '{"level": 17}')
    h.s.check("the peripheral sees a write request",
              h.radio.ask("writes lamp light") == "request:11")
    h.set("commanded", '{"level": 34}')
    h.s.check("the peripheral sees a write command", wait_for(
        "the write command", lambda: h.radio.ask("writes lamp light"), 5) == "command:22")
    text = bytes(range(100)).hex()
    h.set("label", json.dumps({"raw": text}))
    h.s.check("a value longer than the MTU is written", h.radio.ask("get lamp label") == text)
    begin = time.time()
    h.mqtt.publish(topic("lamp", "label", "get"), "")
    value = h.mqtt.wait(topic("lamp", "label"), begin, 10)
    h.s.check("and read", json.loads(value.payload)["value"] == text)


def lost_link(h, reason, what):
    begin = time.time()
    h.radio.ask(f"drop strap 0x{reason:02x}")
    dropped = h.radio.wait("strap", "drops the link", begin, 10)
    lost = h.radio.wait("strap", f"disconnected 0x{reason:02x}", begin, 10)
    offline = h.mqtt.wait(availability("strap"), begin, 5, lambda m: m.payload == "offline").time
    h.s.check(f"link lost by {what} (0x{reason:02x}): offline within 1 s", offline - dropped <= 1,
              f"{offline - dropped:.3f} s, {offline - lost:.3f} s after the link's end")
    back = h.radio.wait("strap", "advertises", lost, 10)
    online = h.online("strap", offline, 30)
    h.s.check("reconnected and subscribed without help", True,
              f"{online - back:.2f} s after its first advertisement")
    h.subscribed()


def absence(h, seconds):
    begin = time.time()
    h.radio.ask("vanish strap")
    lost = h.radio.wait("strap", "disconnected 0x08", begin, 10)
    offline = h.mqtt.wait(availability("strap"), begin, 5, lambda m: m.payload == "offline").time
    h.s.check("out of reach: offline within 1 s", offline - lost <= 1, f"{offline - lost:.3f} s")
    middle = time.time() + seconds / 2
    wait_for("half of the absence", lambda: time.time() >= middle, seconds, pause=0.1)
    h.set("requested", '{"level": 51}')
    h.s.check("meanwhile the other peripheral works",
              h.radio.ask("writes lamp light") == "request:33")
    link = json.loads(h.mqtt.last(topic("strap", "status", "link")).payload)
    h.s.check("the link's status says why", bool(link.get("why")), link.get("why", ""))
    wait_for("the absence", lambda: time.time() >= begin + seconds, seconds + 5, pause=0.1)
    # the worst moment: from its first report on, the duplicate filter withholds the peripheral until
    # the kernel's discovery starts over, 10.24 s later
    h.radio.wait("hci0", "scans actively", time.time(), 15)
    begin = time.time()
    h.radio.ask("appear strap")
    seen = h.radio.wait("strap", "advertises", begin, 5)
    online = h.online("strap", begin, 30)
    h.s.check(f"absent for {seconds} s: online within 10 s of its first advertisement",
              online - seen <= 10, f"{online - seen:.2f} s")
    h.subscribed()


def shutdown(h):
    begin = time.time()
    status = h.s.kill(h.gateway, signal.SIGTERM)
    took = time.time() - begin
    h.s.check("SIGTERM ends the gateway with status 0 within 2 s", status == 0 and took <= 2,
              f"{took:.2f} s")
    for name in (availability("strap"), availability("lamp"), topic("bridge", "lab", "status")):
        h.s.check(f"{name} is offline then",
                  h.mqtt.wait(name, begin, 2).payload == "offline")


def play(s):
    h = House(s)
    start_up(h)
    before = {program: lab.cpu_seconds(program) for program in s.programs}
    h.streams(BURST, RATE)
    s.say("CPU seconds of it: " + ", ".join(
        f"{program.name} {lab.cpu_seconds(program) - used:.2f}" for program, used in before.items()))
    reads_and_writes(h)
    lost_link(h, 0x08, "supervision timeout")
    lost_link(h, 0x13, "the peripheral")
    absence(h, 15 if os.environ.get("LAB_SHORT") else ABSENCE)
    shutdown(h)


if __name__ == "__main__":
    lab.main("gateway", play)

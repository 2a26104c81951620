"""Whatever dies comes back by itself on a real Bluetooth stack: the peripheral (power cut COUNT
times, at moments drawn from SEED), bluetoothd, the bus, the controller, the gateway. After each the
devices are online, and a notification arrives once."""
import json
import os
import random
import re
import signal
import statistics
import struct
import time

import lab
from gateway import House, availability, numbers, topic
from lab import wait_for

COUNT = int(os.environ.get("COUNT", "10"))
SEED = int(os.environ.get("SEED", "1"))
CONTROLLER = "00:1A:7D:00:00:01"
SETTINGS = f"\nbluetooth: {{ adapters: [ \"{CONTROLLER}\" ] }}\n"

# A cut that an earlier one followed soon counts as a failed attempt, and the wait before the next
# one may have grown; an advertisement ends it within 2 s, once in 10 s. Who waits for the connector
# behind an attempt that comes to nothing waits for up to 20 s more. A busy host is slower yet.
BACK_LIMIT = 60
# a blind attempt does not show as connecting
UNDER_WAY = ("connecting", "resolving", "configuring", "online")


def kernel_bug():
    """Where the guest's kernel has failed last, if it has."""
    log = lab.run("dmesg")
    if "kernel BUG" not in log:
        return ""
    functions = re.findall(r"\] +([a-z0-9_]+)\+0x[0-9a-f/x]+ \[bluetooth\]", log)
    return f" (the kernel failed in {functions[0] if functions else 'an unknown place'})"


class Recovery(House):
    """The house, with what is asked after each recovery."""

    def __init__(self, s):
        super().__init__(s, SETTINGS)
        self.begin_all = time.time()
        self.sent = 0
        self.crashes = 0
        s.bluetoothd.on_end = self.restart_bluetoothd

    def start_bluetoothd(self):
        self.s.start_bluetoothd()
        self.s.bluetoothd.on_end = self.restart_bluetoothd

    def restart_bluetoothd(self):
        """bluetoothd died unasked; a service manager would start it again."""
        self.crashes += 1
        self.s.say(f"bluetoothd has ended with status {self.s.bluetoothd.returncode}"
                   f"{kernel_bug()}: started again")
        self.start_bluetoothd()

    def link(self, device):
        """The device's last word about its link."""
        return json.loads(self.mqtt.last(topic(device, "status", "link")).payload)

    def wait_link(self, device, since, limit, fits):
        """The first word about a device's link, since a time, that fits; and when it came."""
        message = self.mqtt.wait(topic(device, "status", "link"), since, limit,
                                 lambda m: fits(json.loads(m.payload)))
        return json.loads(message.payload), message.time

    def offline(self, device, since, limit=5):
        return self.mqtt.wait(availability(device), since, limit,
                              lambda m: m.payload == "offline").time

    def notified(self, count=1):
        """The strap notifies; when the last value has arrived. Each has, by its number."""
        begin = time.time()
        self.radio.ask(f"notify strap stream {count} 100")
        self.sent += count
        return self.mqtt.wait(topic("strap", "stream"), begin, 10,
                              lambda m: json.loads(m.payload)["sequence"] == self.sent).time

    def back(self, since, limit=BACK_LIMIT):
        """Both devices are online after a time, and a notification arrives; the seconds it took."""
        at = max(self.online(device, since, limit) for device in ("strap", "lamp"))
        self.notified()
        return at - since

    def all_once(self):
        """Every value that the strap sent since the start has arrived once and in order."""
        time.sleep(0.5)  # what would come twice has come by then
        seen = numbers(self.mqtt.since(topic("strap", "stream"), self.begin_all))
        self.s.check("every notification arrived, once and in order",
                     seen == list(range(1, self.sent + 1)), f"{self.sent}")


# ---- the peripheral's power

def moment(h, name, since, dice):
    """Waits until the strap's next connection has come so far, and a little longer."""
    if name == "connecting":
        h.wait_link("strap", since, BACK_LIMIT, lambda link: link["state"] in UNDER_WAY)
        time.sleep(dice.uniform(0, 0.15))
    elif name == "resolving":
        h.radio.wait("strap", "connected", since, BACK_LIMIT)
        time.sleep(dice.uniform(0, 0.5))
    elif name == "subscribing":
        h.wait_link("strap", since, BACK_LIMIT,
                    lambda link: link["state"] in ("configuring", "online"))
        time.sleep(dice.uniform(0, 0.05))
    else:
        h.online("strap", since, BACK_LIMIT)
        time.sleep(dice.uniform(0, 1))


def power_off(h):
    """The strap has no power for a time drawn; when that began, and the link's state until then."""
    before = h.link("strap")["state"]
    begin = time.time()
    h.radio.ask("vanish strap")
    return begin, before


def power_cycle(h, number, dice):
    """The strap loses its power at a moment drawn, and comes back: seconds from its first
    advertisement until it was online, and until a notification had arrived."""
    name = dice.choice(("connecting", "resolving", "subscribing", "online"))
    if name != "online":  # its way there begins with a cut, too
        power_off(h)
        time.sleep(dice.uniform(0.1, 1))
        since = time.time()
        h.radio.ask("appear strap")
        moment(h, name, since, dice)
    begin, before = power_off(h)
    off = dice.choice((0.1, 0.3, 1, 2)) * dice.uniform(0.5, 1.5)
    time.sleep(off)
    since = time.time()
    h.radio.ask("appear strap")
    seen = h.radio.wait("strap", "advertises", since, 5)
    # one that was faster than the supervision timeout may be online still
    wait_for("the old link's end", lambda: h.radio.ask("state strap").startswith("connected"),
             BACK_LIMIT)
    online = h.online("strap", since, BACK_LIMIT) - seen
    took = h.notified() - seen
    h.s.say(f"cycle {number}: {name} ({before}), {off:.2f} s without power: "
            f"online {online:.2f} s after its first advertisement, notified after {took:.2f} s")
    return name, online, took


def power_cycles(h):
    dice = random.Random(SEED)
    h.s.say(f"{COUNT} power cycles, seed {SEED}")
    results = [power_cycle(h, n + 1, dice) for n in range(COUNT)]
    times = sorted(online for _, online, _ in results)
    for name in ("connecting", "resolving", "subscribing", "online"):
        those = [online for moment_name, online, _ in results if moment_name == name]
        if those:
            h.s.say(f"cut while {name}: {len(those)}, online after {min(those):.2f} / "
                    f"{statistics.median(those):.2f} / {max(those):.2f} s")
    h.s.say("all: " + " ".join(f"{t:.2f}" for t in times))
    h.s.check(f"power-cycled {COUNT} times: always online again, subscribed, notifying", True,
              f"min {times[0]:.2f}, median {statistics.median(times):.2f}, max {times[-1]:.2f} s "
              "after its first advertisement")


# ---- bluetoothd and the bus

def bluetoothd_dies(h, pause):
    begin = time.time()
    h.s.kill(h.s.bluetoothd)
    offline = max(h.offline(device, begin) for device in ("strap", "lamp"))
    link, _ = h.wait_link("strap", begin, 5, lambda link: link["reason"] == "no_bluez")
    h.s.check("bluetoothd killed: offline, and the status says why", "bluetoothd" in link["why"],
              f"{offline - begin:.2f} s: {link['why']}")
    time.sleep(pause)
    begin = time.time()
    h.start_bluetoothd()
    h.s.check(f"started {pause:g} s later: both online, subscribed, notifying", True,
              f"{h.back(begin):.2f} s")


def bluetoothd_dies_while_connecting(h):
    begin = time.time()
    h.radio.ask("vanish strap")
    h.offline("strap", begin)
    begin = time.time()
    h.radio.ask("appear strap")
    h.radio.wait("strap", "connected", begin, BACK_LIMIT)
    h.s.kill(h.s.bluetoothd)
    begin = time.time()
    h.start_bluetoothd()
    h.s.check("killed while it connected and started at once: both online, notifying", True,
              f"{h.back(begin):.2f} s")


def bluetoothd_dies_during_a_write(h):
    h.radio.ask("slow lamp 2000")
    begin = time.time()
    h.mqtt.publish(topic("lamp", "requested", "set"), '{"level": 9}')
    time.sleep(0.5)
    h.s.kill(h.s.bluetoothd)
    h.radio.ask("slow lamp 0")
    answer = h.mqtt.wait(topic("lamp", "requested", "result"), begin, 10)
    h.s.check("killed during a write: the command is answered",
              json.loads(answer.payload)["status"] == "error", answer.payload)
    since = time.time()
    h.start_bluetoothd()
    took = h.back(since)
    h.s.check("once", len(h.mqtt.since(topic("lamp", "requested", "result"), begin)) == 1,
              f"and both are online again, {took:.2f} s")


def bus_dies(h):
    begin = time.time()
    h.s.programs.remove(h.s.bluetoothd)  # it ends with the bus
    h.s.kill(h.s.bus)
    link, _ = h.wait_link("strap", begin, 5, lambda link: link["reason"] == "no_bus")
    h.s.check("dbus-daemon killed: the status says so", bool(link["why"]), link["why"])
    h.s.bluetoothd.wait(10)
    begin = time.time()
    h.s.start_bus()
    h.start_bluetoothd()
    h.s.check("both started again: online, subscribed, notifying", True, f"{h.back(begin):.2f} s")


# ---- the controller

class Hung:
    """A controller that never answers its driver: it takes the lowest free name (hci0)."""

    def __init__(self):
        self.fd = os.open("/dev/vhci", os.O_RDWR)
        os.write(self.fd, b"\xff\x00")
        os.read(self.fd, 64)  # tells the number

    def unplug(self):
        os.close(self.fd)


def replug(h, what, pause, hung=False):
    begin = time.time()
    h.radio.ask("adapter hci0 remove")
    offline = max(h.offline(device, begin) for device in ("strap", "lamp"))
    link, _ = h.wait_link("strap", begin, 5, lambda link: link["reason"] == "no_adapter")
    h.s.check(f"{what}: offline within 1 s, and the status says why", offline - begin <= 1,
              f"{offline - begin:.2f} s: {link['why']}")
    other = Hung() if hung else None
    time.sleep(pause)
    begin = time.time()
    h.radio.ask("adapter hci0 add")
    took = h.back(begin)
    name = next(name for name, address in lab.adapters().items() if address == CONTROLLER)
    h.s.check(f"plugged in again as {name}: both online, subscribed, notifying",
              (name != "hci0") == hung, f"{took:.2f} s")
    return other


def unplugged_while_connecting(h):
    begin = time.time()
    h.radio.ask("vanish strap")
    h.offline("strap", begin)
    time.sleep(1.5)  # by now its Connect waits in the kernel
    h.radio.ask("adapter hci0 remove")
    h.wait_link("strap", begin, 5, lambda link: link["reason"] == "no_adapter")
    h.radio.ask("appear strap")
    begin = time.time()
    h.radio.ask("adapter hci0 add")
    h.s.check("unplugged while it connected, and plugged in: both online, notifying", True,
              f"{h.back(begin):.2f} s")


def switch(on):
    """Another program switches the adapter on or off."""
    name = next(name for name, address in lab.adapters().items() if address == CONTROLLER)
    lab.run("busctl", "--system", "set-property", "org.bluez", f"/org/bluez/{name}",
            "org.bluez.Adapter1", "Powered", "b", "true" if on else "false")


def switched_off(h):
    begin = time.time()
    switch(False)
    h.offline("strap", begin)
    link, _ = h.wait_link("strap", begin, 5, lambda link: link["reason"] == "adapter_off")
    time.sleep(2)
    h.s.check("the adapter switched off: offline, the status says why, and it stays off",
              h.link("strap")["reason"] == "adapter_off", link["why"])
    begin = time.time()
    switch(True)
    h.s.check("switched on: both online, subscribed, notifying", True, f"{h.back(begin):.2f} s")


def rfkill(blocked):
    """Blocks or frees all Bluetooth: struct rfkill_event of linux/rfkill.h."""
    type_bluetooth, change_all = 2, 3
    with open("/dev/rfkill", "wb", buffering=0) as f:
        f.write(struct.pack("<IBBBB", 0, type_bluetooth, change_all, blocked, 0))


def blocked_by_rfkill(h):
    begin = time.time()
    rfkill(True)
    h.offline("strap", begin)
    # without its experimental PowerState bluetoothd 5.66 does not tell this from "switched off"
    link, _ = h.wait_link("strap", begin, 5,
                          lambda link: link["reason"] in ("adapter_off", "rfkill"))
    h.s.check("blocked by rfkill: offline, and the status says why", bool(link["why"]), link["why"])
    begin = time.time()
    rfkill(False)
    h.s.check("unblocked: both online, subscribed, notifying", True, f"{h.back(begin):.2f} s")


def vanished_while_connecting(h):
    """The strap is heard and is gone before the link is made; the lamp needs the connector."""
    begin = time.time()
    h.radio.ask("vanish strap")
    h.offline("strap", begin)
    begin = time.time()
    h.radio.ask("appear strap")
    h.wait_link("strap", begin, BACK_LIMIT, lambda link: link["state"] in UNDER_WAY)
    h.radio.ask("vanish strap")
    since = time.time()
    h.radio.ask("drop lamp 0x13")
    h.offline("lamp", since)
    took = h.online("lamp", since, 40) - since
    h.s.check("gone while it connected: the other peripheral waits for a limited time",
              took <= 30, f"{took:.2f} s")
    begin = time.time()
    h.radio.ask("appear strap")
    online = h.online("strap", begin, BACK_LIMIT) - begin
    h.notified()
    h.s.check("it comes back: online, notifying", True, f"{online:.2f} s")


# ---- the gateway

def gateway_dies(h):
    links = len(h.radio.events("strap", "connected"))
    h.s.kill(h.gateway)
    h.start()
    took = h.back(h.begin, 40)
    h.s.check("the gateway killed and started: the links that existed are adopted",
              len(h.radio.events("strap", "connected")) == links, f"online {took:.2f} s")


def play(s):
    h = Recovery(s)
    for device in ("strap", "lamp"):
        h.online(device, h.begin, 40)
    h.notified()
    power_cycles(h)
    bluetoothd_dies(h, 0)
    bluetoothd_dies(h, 3)
    bluetoothd_dies_while_connecting(h)
    bluetoothd_dies_during_a_write(h)
    replug(h, "the controller unplugged", 0.5)
    hung = replug(h, "unplugged, and another took its name", 0.5, hung=True)
    hung.unplug()
    unplugged_while_connecting(h)
    switched_off(h)
    blocked_by_rfkill(h)
    vanished_while_connecting(h)
    gateway_dies(h)
    bus_dies(h)
    h.all_once()


if __name__ == "__main__":
    lab.main("recover", play)

"""The radio by itself: bluetoothd, asked by busctl, finds, connects, discovers, subscribes, reads
and writes, and sees links end. No gateway, no broker."""
import re
import subprocess
import time

import lab
from lab import wait_for

HCI0 = "/org/bluez/hci0"
STRAP = f"{HCI0}/dev_C0_1A_7D_00_01_01"
LAMP = f"{HCI0}/dev_00_1A_7D_00_02_01"
BEACON = f"{HCI0}/dev_C0_1A_7D_00_03_01"
BURST = 1000
RATE = 100


def call(path, interface, method, *arguments, limit=60):
    return lab.run("busctl", "--system", f"--timeout={limit}", "call", "org.bluez", path,
                   f"org.bluez.{interface}", method, *arguments, limit=limit + 5)


def get(path, interface, name):
    """A property as busctl prints it, or None where there is none."""
    done = subprocess.run(["busctl", "--system", "get-property", "org.bluez", path,
                           f"org.bluez.{interface}", name],
                          capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def characteristic(device, uuid):
    """The path of a device's characteristic."""
    tree = lab.run("busctl", "--system", "tree", "--list", "org.bluez")
    for path in tree.split():
        if re.fullmatch(re.escape(device) + r"/service[0-9a-f]{4}/char[0-9a-f]{4}", path):
            if get(path, "GattCharacteristic1", "UUID") == f's "{uuid}"':
                return path
    raise lab.Failed(f"{device} has no {uuid}")


def connect(s, device, what):
    begin = time.monotonic()
    call(device, "Device1", "Connect")
    linked = time.monotonic()
    wait_for(f"{what} resolved", lambda: get(device, "Device1", "ServicesResolved") == "b true", 20)
    s.check(f"{what} connects and its services resolve", True,
            f"link {linked - begin:.2f} s, services {time.monotonic() - begin:.2f} s")


def values(monitor, path, since):
    """Numbers that began the values notified at a path."""
    lines = [line for at, line in list(monitor.lines.lines) if at >= since]
    numbers, ours, data = [], False, None
    for line in lines:
        if line.startswith("signal "):
            ours = f"path={path};" in line
        elif ours and "array of bytes" in line:
            data = []
        elif data is not None:
            data += line.split()
            if len(data) >= 4 or "]" in line:
                numbers.append(int.from_bytes(bytes(int(b, 16) for b in data[:4]), "little"))
                data = None
    return numbers


class Shell:
    """bluetoothctl, with somebody who types."""

    def __init__(self):
        self.process = subprocess.Popen(["bluetoothctl"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True)
        self.lines = lab.Lines(self.process.stdout, f"{lab.OUT}/bluetoothctl.txt")

    def type(self, *lines):
        self.process.stdin.write("".join(f"{line}\n" for line in lines))
        self.process.stdin.flush()

    def end(self):
        self.process.stdin.close()
        self.process.terminate()
        self.process.wait()


def play(s):
    s.start_bluetooth(f"{lab.LAB}/guest/world.yaml")
    monitor = s.start("dbus-monitor", "stdbuf", "-oL", "dbus-monitor", "--system",
                      "type='signal',sender='org.bluez',member='PropertiesChanged'",
                      stdout_lines=lab.Lines)
    if get(HCI0, "Adapter1", "Powered") != "b true":
        lab.run("busctl", "--system", "set-property", "org.bluez", HCI0, "org.bluez.Adapter1",
                "Powered", "b", "true")
    # discovery and subscriptions end with their client: bluetoothctl stays
    shell = Shell()
    begin = time.time()
    shell.type("menu scan", "transport le", "back", "scan on")
    for path, what in ((STRAP, "strap"), (LAMP, "lamp"), (BEACON, "beacon")):
        wait_for(f"{what} found", lambda p=path: get(p, "Device1", "RSSI"), 20)
        s.say(f"{what}: {get(path, 'Device1', 'RSSI')} {get(path, 'Device1', 'Name')}")
    s.check("bluetoothctl's scan finds all three", True, f"{time.time() - begin:.2f} s")
    name = get(LAMP, "Device1", "Name")
    s.check("a long name comes by the scan response, shortened", name.startswith('s "Lab lamp with'),
            name)
    # Linux 6.1 connects when an advertisement is reported, and while it discovers, its duplicate
    # filter lets one through per peer and 10.24 s; without discovery it filters by its accept list
    shell.type("scan off")
    wait_for("scan off", lambda: get(HCI0, "Adapter1", "Discovering") == "b false", 10)

    connect(s, STRAP, "strap")
    connect(s, LAMP, "lamp")
    battery = characteristic(STRAP, "00002a19-0000-1000-8000-00805f9b34fb")
    s.check("a read", call(battery, "GattCharacteristic1", "ReadValue", "a{sv}", "0").strip() ==
            "ay 1 95")
    stream = characteristic(STRAP, "da2e7828-fbce-4e01-ae9e-261174997c48")
    shell.type("menu gatt", f"select-attribute {stream}", "notify on")
    wait_for("subscribed", lambda: get(stream, "GattCharacteristic1", "Notifying") == "b true", 10)
    begin = time.time()
    s.radio.ask(f"notify strap stream {BURST} {RATE}")
    wait_for("the burst", lambda: len(values(monitor, stream, begin)) >= BURST, 60, pause=1)
    s.check(f"{BURST} notifications at {RATE}/s, in order, none lost, none twice",
            values(monitor, stream, begin) == list(range(1, BURST + 1)))

    light = characteristic(LAMP, "ff0e0002-5f0c-4b5e-9a5e-7a35a33bb5a7")
    label = characteristic(LAMP, "ff0e0003-5f0c-4b5e-9a5e-7a35a33bb5a7")
    call(light, "GattCharacteristic1", "WriteValue", "aya{sv}", "1", "1", "1", "type", "s",
         "request")
    call(light, "GattCharacteristic1", "WriteValue", "aya{sv}", "2", "2", "3", "1", "type", "s",
         "command")
    s.check("a write request and a write command arrive, told apart", wait_for(
        "writes", lambda: s.radio.ask("writes lamp light"), 5) == "request:01 command:0203")
    text = b"lab-lamp-with-a-long-label-for-long-reads"
    s.check("a long read", call(label, "GattCharacteristic1", "ReadValue", "a{sv}", "0").split() ==
            ["ay", str(len(text))] + [str(b) for b in text])
    written = [str(i) for i in range(100)]
    call(label, "GattCharacteristic1", "WriteValue", "aya{sv}", "100", *written, "0")
    s.check("a long write reads back",
            call(label, "GattCharacteristic1", "ReadValue", "a{sv}", "0").split()[2:] == written)

    begin = time.time()
    s.radio.ask("parameters strap 12 0 200")
    s.radio.wait("strap", "parameters 12 0 200", begin, 10)
    s.check("the kernel grants the connection parameters that a peripheral asks for", True)

    for reason, what in ((0x08, "supervision timeout"), (0x13, "the peripheral's goodbye")):
        begin = time.time()
        s.radio.ask(f"drop strap 0x{reason:02x}")
        lost = s.radio.wait("strap", f"disconnected 0x{reason:02x}", begin, 5)
        wait_for("Connected=false", lambda: get(STRAP, "Device1", "Connected") == "b false", 5)
        s.check(f"a link lost by {what} is seen", True, f"{time.time() - lost:.2f} s later")
        connect(s, STRAP, f"strap, after {what},")
    shell.end()


lab.main("bluez", play)

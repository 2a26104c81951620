"""Runs gatt2mqtt where somebody looks at it for the first time; deploy/try builds it and calls this.

What the machine lacks is brought along: without a Bluetooth adapter a private bus with simulated
peripherals, without a broker on localhost:1883 a Mosquitto of our own. What arrives on MQTT is
shown, and the simulated lamp can be switched. All that was started here ends with us, by its
process id. Python's standard library only.
"""

import argparse
import collections
import ctypes
import datetime
import glob
import json
import os
import re
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
USER_CONFIG = "/etc/gatt2mqtt/config.yaml"
LAMP = "lamp"
ANSWER_WITHIN = 15

HELP = """\
  lamp on | lamp off   switch the simulated lamp
  lamp 40              set its brightness, in percent
  lamp                 ask for its state
  quit                 end everything (Ctrl-C does, too)"""

_libc = ctypes.CDLL(None)


def start(argv, log, env=None, stdout=None):
    """Starts a program in a process group of its own, so that Ctrl-C reaches only us, and so that
    it ends if we are killed. Its words go to the log."""

    def child():
        _libc.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG

    with open(log, "ab") as out:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stdout or out, stderr=out,
                                env=dict(os.environ, **(env or {})), start_new_session=True,
                                preexec_fn=child)


def end(process, timeout):
    if process is None:
        return
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def until(condition, timeout):
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Failed(Exception):
    pass


def broker_answers(host, port):
    """Whether an MQTT broker lets an anonymous client in there: CONNECT (3.1.1), CONNACK."""
    connect = struct.pack(">BBH4sBBHH", 0x10, 12, 4, b"MQTT", 4, 2, 10, 0)
    try:
        with socket.create_connection((host, port), 2) as link:
            link.settimeout(2)
            link.sendall(connect)
            answer = link.recv(4)
            link.sendall(b"\xe0\x00")  # DISCONNECT
            return answer == b"\x20\x02\x00\x00"
    except OSError:
        return False


def have_adapter():
    """Whether BlueZ offers an adapter on the system bus."""
    if not glob.glob("/sys/class/bluetooth/hci*"):
        return False
    ask = ["dbus-send", "--system", "--print-reply", "--dest=org.bluez", "/",
           "org.freedesktop.DBus.ObjectManager.GetManagedObjects"]
    try:
        answer = subprocess.run(ask, capture_output=True, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return b"org.bluez.Adapter1" in answer.stdout


def runs_as_service():
    try:
        return subprocess.run(["systemctl", "is-active", "--quiet", "gatt2mqtt"],
                              capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def duration(text):
    match = re.fullmatch(r"(\d+)(s|m|h)", text)
    if not match:
        raise argparse.ArgumentTypeError("a duration such as 20s or 5m")
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600}[match[2]]


class Screen:
    """Lines go up, what is being typed stays below. Without a terminal: lines only."""

    PROMPT = "> "

    def __init__(self):
        self.colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self.editing = sys.stdin.isatty() and sys.stdout.isatty()
        self.typed = ""
        self.history = []
        self.at = 0
        self.rest = b""
        self.saved = None
        if self.editing:
            self.saved = termios.tcgetattr(0)
            mode = termios.tcgetattr(0)
            mode[3] &= ~(termios.ICANON | termios.ECHO)
            mode[6][termios.VMIN] = 1
            mode[6][termios.VTIME] = 0
            mode[6][termios.VSUSP] = b"\0"  # a stopped front door would leave the rest running
            termios.tcsetattr(0, termios.TCSADRAIN, mode)
            self._draw()

    def _draw(self):
        width = shutil.get_terminal_size().columns - len(self.PROMPT) - 1
        sys.stdout.write("\r\x1b[K" + self.PROMPT + self.typed[-max(width, 1):])
        sys.stdout.flush()

    def paint(self, text, colour):
        codes = {"dim": "2", "bold": "1", "green": "32", "red": "31", "yellow": "33", "cyan": "36"}
        return f"\x1b[{codes[colour]}m{text}\x1b[0m" if self.colour and colour else text

    def line(self, text=""):
        if self.editing:
            sys.stdout.write("\r\x1b[K")
        sys.stdout.write(text + "\n")
        if self.editing:
            self._draw()
        else:
            sys.stdout.flush()

    def keys(self, data):
        """Takes what was typed; gives the finished lines, None for the end of input."""
        lines = []
        if not self.editing:
            if not data:
                return [None]
            *whole, self.rest = (self.rest + data).split(b"\n")
            return [each.decode(errors="replace").strip() for each in whole]
        text = data.decode(errors="ignore")
        text = re.sub(r"\x1b\[A|\x1bOA", "\x10", re.sub(r"\x1b\[B|\x1bOB", "\x0e", text))
        for key in re.sub(r"\x1b(\[[0-9;]*[ -/]*[@-~]|.)?", "", text):
            if key in "\r\n":
                typed, self.typed = self.typed.strip(), ""
                if typed and self.history[-1:] != [typed]:
                    self.history.append(typed)
                self.at = len(self.history)
                lines.append(typed)
            elif key in "\x03\x04":
                if not self.typed or key == "\x03":
                    lines.append(None)
            elif key in "\x7f\b":
                self.typed = self.typed[:-1]
            elif key in "\x15\x17":
                self.typed = "" if key == "\x15" else self.typed.rstrip().rpartition(" ")[0]
            elif key in "\x10\x0e":
                step = -1 if key == "\x10" else 1
                self.at = min(max(self.at + step, 0), len(self.history))
                self.typed = self.history[self.at] if self.at < len(self.history) else ""
            elif key.isprintable():
                self.typed += key
        self._draw()
        return lines

    def close(self):
        if self.saved:
            sys.stdout.write("\r\x1b[K")
            sys.stdout.flush()
            termios.tcsetattr(0, termios.TCSADRAIN, self.saved)
            self.saved = None
            self.editing = False


class Demo:
    BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow own="*"/> <allow send_destination="*"/> <allow receive_sender="*"/>
  </policy>
</busconfig>
"""

    def __init__(self, options):
        self.options = options
        self.dir = tempfile.mkdtemp(prefix="gatt2mqtt-try-")
        # A socket's name has 108 bytes at most (unix(7)), a folder for temporary files may have more.
        self.bus_dir = self.dir if len(self.path("bus")) < 100 \
            else tempfile.mkdtemp(prefix="gatt2mqtt-try-", dir="/tmp")
        self.screen = None
        self.bus = self.simulator = self.mosquitto = self.listener = self.gateway = None
        self.host, self.port, self.base = "127.0.0.1", 1883, "gatt2mqtt"
        self.gateway_id = "try"
        self.address = None  # of the private bus
        self.seen = set()  # topics, to be cleared on a broker that is not ours
        self.units = {}  # (device, characteristic) -> {field: unit}
        self.online = set()
        self.commands = collections.deque()  # typed, not yet carried out
        self.unanswered = 0
        self.patience = 0  # when the answers still to come are given up
        self.received = b""

    def path(self, name):
        return os.path.join(self.dir, name)

    def log_end(self, name, lines=20):
        try:
            with open(self.path(name), errors="replace") as log:
                return "".join(log.readlines()[-lines:]).rstrip()
        except OSError:
            return ""

    # -- what the machine lacks

    def start_simulator(self):
        path = os.path.join(self.bus_dir, "bus")
        with open(self.path("bus.conf"), "w") as out:
            out.write(self.BUS.format(path=path))
        self.bus = start(["dbus-daemon", f"--config-file={self.path('bus.conf')}", "--nofork",
                          "--nopidfile"], self.path("bus.log"))
        if not until(lambda: os.path.exists(path) or self.bus.poll() is not None, 10) \
                or self.bus.poll() is not None:
            raise Failed("dbus-daemon does not start:\n" + self.log_end("bus.log"))
        self.address = f"unix:path={path}"
        self.simulator = start([self.options.program, "simulate",
                                os.path.join(ROOT, "config/simulated-house.yaml")],
                               self.path("simulator.log"),
                               {"DBUS_SYSTEM_BUS_ADDRESS": self.address})

    def start_broker(self):
        for _ in range(10):
            with socket.socket() as probe:
                probe.bind((self.host, 0))
                self.port = probe.getsockname()[1]
            with open(self.path("mosquitto.conf"), "w") as out:
                out.write(f"listener {self.port} {self.host}\nallow_anonymous true\n"
                          "persistence false\nlog_dest stderr\n")
                if os.getuid() == 0:
                    out.write("user root\n")
            program = shutil.which("mosquitto") or "/usr/sbin/mosquitto"
            self.mosquitto = start([program, "-c", self.path("mosquitto.conf")],
                                   self.path("mosquitto.log"))
            until(lambda: self.mosquitto.poll() is not None
                  or broker_answers(self.host, self.port), 10)
            if self.mosquitto.poll() is None:
                return
        raise Failed("mosquitto does not start:\n" + self.log_end("mosquitto.log"))

    def configuration(self):
        """config/try.yaml with the broker and the base topic of this run."""
        with open(os.path.join(ROOT, "config/try.yaml")) as sample:
            text = sample.read()
        for key, value in (("url", f"mqtt://{self.host}:{self.port}"), ("base_topic", self.base)):
            text, n = re.subn(rf"(?m)^(\s+{key}:\s*)\S+", lambda m: m[1] + value, text)
            assert n == 1, key
        path = self.path("config.yaml")
        with open(path, "w") as out:
            out.write(text)
        return path

    # -- what is shown

    def say(self, when, device, what, text, colour=None):
        paint = self.screen.paint
        self.screen.line(f"{paint(when, 'dim')}  {device:<12} {what:<18} {paint(text, colour)}")

    @staticmethod
    def clock(ts=None):
        try:
            moment = datetime.datetime.fromisoformat(ts.replace("Z", "+00:00")).astimezone()
        except (AttributeError, ValueError):
            moment = datetime.datetime.now()
        return moment.strftime("%H:%M:%S.%f")[:-3]

    @staticmethod
    def scalar(value):
        if isinstance(value, bool):
            return "on" if value else "off"
        return "unknown" if value is None else value if isinstance(value, str) else repr(value)

    def value_text(self, device, characteristic, value):
        units = self.units.get((device, characteristic), {})
        parts = []
        for field, each in value.items():
            if field in ("ts", "assumed"):
                continue
            text = self.scalar(each)
            unit = units.get(field)
            if unit and each is not None:
                text += ("" if unit == "%" else " ") + unit
            parts.append(text if field == "value" else f"{field} {text}")
        return ", ".join(parts)

    def show(self, topic, payload):
        rest = topic.split("/")[self.base.count("/") + 1:]
        try:
            value = json.loads(payload, parse_float=str)  # as it was written: 22.20
        except ValueError:
            value = None
        if rest[0] == "bridge":
            if rest[2:] == ["status"]:
                colour = "green" if payload == "online" else "red"
                self.say(self.clock(), "gateway", "status", payload, colour)
            elif rest[2:] == ["devices"]:
                self.learn_units(value)
        elif rest[1:] == ["status", "availability"]:
            (self.online.add if payload == "online" else self.online.discard)(rest[0])
            self.say(self.clock(), rest[0], "availability", payload,
                     "green" if payload == "online" else "red")
        elif rest[1:] == ["status", "link"] and isinstance(value, dict):
            if value.get("state") != "online" and value.get("why"):
                self.say(self.clock(), rest[0], "link", str(value["why"]), "dim")
        elif len(rest) == 3 and rest[2] == "result" and isinstance(value, dict):
            if value.get("status") == "ok":
                ms = f" ({value['ms']} ms)" if "ms" in value else ""
                self.say(self.clock(), rest[0], "/".join(rest[1:]), "ok" + ms, "green")
            else:
                error = value.get("error") or {}
                self.say(self.clock(), rest[0], "/".join(rest[1:]),
                         f"{error.get('code')}: {error.get('message')}", "red")
            self.unanswered = max(self.unanswered - 1, 0)
        elif len(rest) > 2 and rest[2] in ("set", "get"):
            self.say(self.clock(), rest[0], "/".join(rest[1:]), payload, "yellow")
        elif len(rest) == 2:
            if isinstance(value, dict):
                self.say(self.clock(value.get("ts")), rest[0], rest[1],
                         self.value_text(*rest, value), "bold")
            else:
                self.say(self.clock(), rest[0], rest[1], payload, "bold")

    def learn_units(self, devices):
        """From the retained list of devices: the unit of each field."""
        try:
            for device in devices["devices"]:
                for characteristic in device["characteristics"]:
                    self.units[device["id"], characteristic["id"]] = {
                        field.get("name", field.get("id")): field.get("unit")
                        for field in characteristic.get("fields", [])}
        except (AttributeError, KeyError, TypeError):
            pass

    def messages(self, data):
        *lines, self.received = (self.received + data).split(b"\n")
        for line in lines:
            topic, payload = line.decode(errors="replace").split(" ", 1)
            self.seen.add(topic)
            self.show(topic, bytes.fromhex(payload).decode(errors="replace"))

    # -- what is typed

    def execute(self, line):
        """Carries out what was typed; False ends the demo."""
        words = line.lower().split()
        if not words:
            return True
        if words[0] in ("quit", "exit", "q"):
            return False
        if words[0] in ("help", "?"):
            self.screen.line(HELP)
        elif words[0] != LAMP or not self.simulator or len(words) > 2:
            self.screen.line(f"  '{line}' is no command here.\n{HELP}")
        elif len(words) == 1:
            self.command("power/get", "")
            self.command("brightness/get", "")
        elif words[1] in ("on", "off"):
            self.command("power/set", words[1].upper())
        elif re.fullmatch(r"\d{1,9}%?", words[1]):
            self.command("brightness/set", words[1].rstrip("%"))
        else:
            self.screen.line(f"  The lamp takes on, off or a brightness, not '{words[1]}'.")
        return True

    def command(self, topic, payload):
        self.unanswered += 1
        self.patience = time.monotonic() + ANSWER_WITHIN
        subprocess.run(["mosquitto_pub", "-h", self.host, "-p", str(self.port), "-q", "1",
                        "-t", f"{self.base}/{LAMP}/{topic}", "-m", payload],
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=10)

    def take_commands(self):
        """What was typed or piped, one at a time, once the lamp is there; False ends the demo."""
        while self.commands and not self.unanswered:
            if not self.screen.editing and LAMP not in self.online \
                    and self.commands[0].split()[:1] == [LAMP]:
                break  # piped in: that is worth waiting for
            if not self.execute(self.commands.popleft()):
                return False
        if self.unanswered and time.monotonic() > self.patience:
            self.screen.line("  No answer came.")
            self.unanswered = 0
        return True

    # -- the whole

    def run(self):
        options = self.options
        own_config = have_adapter() and os.path.exists(USER_CONFIG) and not options.demo
        if own_config:
            print(f"This machine has a Bluetooth adapter and {USER_CONFIG}: running with that.\n"
                  "(./deploy/try --demo shows the simulated house instead.)\n")
            sys.stdout.flush()
            if runs_as_service():
                raise Failed("It runs already, as the service gatt2mqtt; see: "
                             "journalctl -f -u gatt2mqtt")
            shutil.rmtree(self.dir, ignore_errors=True)
            os.execv(options.program, [options.program, "-c", USER_CONFIG, "run"])

        self.start_simulator()
        if broker_answers(self.host, self.port):
            self.base = "gatt2mqtt-try"
            broker = f"the one on {self.host}:{self.port}; our topics are cleared in the end"
        else:
            self.start_broker()
            broker = f"a Mosquitto of our own on {self.host}:{self.port}"
        config = self.configuration()
        self.listener = start(["mosquitto_sub", "-h", self.host, "-p", str(self.port), "-q", "1",
                               "-t", f"{self.base}/#", "-F", "%t %x"],
                              self.path("listener.log"), stdout=subprocess.PIPE)
        self.gateway = start([options.program, "-c", config, "run"], self.path("gateway.log"),
                             {"DBUS_SYSTEM_BUS_ADDRESS": self.address})

        print("gatt2mqtt is running, with simulated peripherals on a bus of their own.\n"
              f"  broker   {broker}\n"
              f"  watch    mosquitto_sub -h {self.host} -p {self.port} -v -t '{self.base}/#'\n"
              f"  config   {config}\n"
              f"  logs     {self.dir}/\n"
              f"{HELP}\n")
        sys.stdout.flush()
        self.screen = Screen()
        self.loop()

    def loop(self):
        deadline = time.monotonic() + self.options.duration if self.options.duration else None
        selector = selectors.DefaultSelector()
        selector.register(self.listener.stdout, selectors.EVENT_READ, "mqtt")
        try:
            selector.register(0, selectors.EVENT_READ, "keys")
        except PermissionError:  # a file: it can be read at once, but not waited for
            self.commands.extend(line.strip() for line in sys.stdin)
        except OSError:  # closed
            pass
        while deadline is None or time.monotonic() < deadline:
            for key, _ in selector.select(0.2):
                if key.data == "mqtt":
                    data = os.read(key.fd, 65536)
                    if not data:
                        raise Failed("the connection to the broker broke:\n"
                                     + self.log_end("listener.log"))
                    self.messages(data)
                    continue
                data = os.read(0, 4096)
                if not data:
                    selector.unregister(0)
                for line in self.screen.keys(data):
                    if line is not None:
                        self.commands.append(line)
                    elif self.screen.editing:
                        self.commands.append("quit")
            if not self.take_commands():
                return
            for process, name in ((self.gateway, "gateway"), (self.simulator, "simulator")):
                if process.poll() is not None:
                    raise Failed(f"the {name} ended by itself (status {process.returncode}):\n"
                                 + self.log_end(name + ".log"))

    def goodbye(self):
        """The gateway first, so that its last words are seen."""
        if self.gateway and self.gateway.poll() is None:
            self.gateway.terminate()
            if self.screen and self.listener:
                os.set_blocking(self.listener.stdout.fileno(), False)
                until(self.last_words, 5)
        end(self.gateway, 5)

    def last_words(self):
        ended = self.gateway.poll() is not None
        try:
            while data := os.read(self.listener.stdout.fileno(), 65536):
                self.messages(data)
        except BlockingIOError:
            pass
        return ended

    def clear_topics(self):
        """Leaves nothing retained on a broker that is not ours."""
        if self.mosquitto is None and self.base != "gatt2mqtt":
            for topic in self.seen:
                subprocess.run(["mosquitto_pub", "-h", self.host, "-p", str(self.port), "-q", "1",
                                "-r", "-n", "-t", topic], stdin=subprocess.DEVNULL,
                               capture_output=True, timeout=10)

    def close(self):
        try:
            self.goodbye()
            self.clear_topics()
        finally:
            for process in (self.gateway, self.listener, self.simulator, self.mosquitto, self.bus):
                end(process, 5)
            if self.bus_dir != self.dir:
                shutil.rmtree(self.bus_dir, ignore_errors=True)
            if self.screen:
                self.screen.close()


def main():
    parser = argparse.ArgumentParser(prog="deploy/try")
    parser.add_argument("--program", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--for", dest="duration", type=duration, metavar="DURATION")
    parser.add_argument("--demo", action="store_true")
    options = parser.parse_args()

    def leave(*_):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # once is enough; it ends soon
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)

    demo = Demo(options)
    status = 0
    trouble = None
    try:
        demo.run()
    except KeyboardInterrupt:
        pass
    except Failed as failure:
        status, trouble = 1, str(failure)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        demo.close()
    if trouble:
        logs = f"\nLogs: {demo.dir}/" if os.listdir(demo.dir) else ""
        print(trouble + logs, file=sys.stderr)
    else:
        shutil.rmtree(demo.dir, ignore_errors=True)
        print("Everything that was started here has ended.")
    return status


if __name__ == "__main__":
    sys.exit(main())

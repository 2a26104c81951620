"""What the end-to-end tests run the gateway in.

House starts and ends, all on loopback and in a directory of its own: a private dbus-daemon, the
simulated BlueZ (`gatt2mqtt simulate`), Mosquitto, a TCP proxy that can be cut, and the gateway;
Recorder is the subscriber that remembers everything. Nothing here sleeps to be in time: whatever
has to happen is waited for, with a deadline.

Environment: GATT2MQTT is the program under test (may be several words, such as valgrind and its
options); E2E_SLACK stretches what a slow build (sanitizers) may take; E2E_OUTAGE is how many
seconds the broker is away; E2E_KEEP=1 keeps the directories.
"""

import ctypes
import glob
import itertools
import json
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import tempfile
import threading
import time

import paho.mqtt.client as paho
import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GATT2MQTT = shlex.split(os.environ.get("GATT2MQTT", os.path.join(ROOT, "build/dev/src/gatt2mqtt")))
SLACK = float(os.environ.get("E2E_SLACK", "1"))
OUTAGE = float(os.environ.get("E2E_OUTAGE", "30"))

variant = pytest.mark.variant  # see pytest.ini

_libc = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1


def wait_until(predicate, timeout, what):
    """Waits for something that sends no word when it happens; returns what the predicate gave. `what`
    may be a function, to tell how it was in the end."""
    deadline = time.monotonic() + timeout
    while True:
        result = predicate()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {timeout:g} s: {what() if callable(what) else what}")
        time.sleep(0.01)


def free_port():
    """A port that nobody has now, below those that the kernel gives to outgoing connections."""
    while True:
        port = random.randint(15000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


_DEAF = """
import fcntl, os, socket, struct, subprocess, sys
with socket.socket() as anything:  # bring lo up
    fcntl.ioctl(anything, 0x8914, struct.pack("16sh14x", b"lo", 0x41))  # SIOCSIFFLAGS: UP, RUNNING
swallow = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
swallow.bind(("127.0.0.1", 53))
swallow.set_inheritable(True)  # lives as long as the program does, and is never read
subprocess.run(["mount", "--bind", sys.argv[1], "/etc/resolv.conf"], check=True)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def deaf_name_server(directory):
    """Words to put before a program, so that its name server is one that never answers, in
    namespaces of its own; None where that is not allowed."""
    path = os.path.join(directory, "resolv.conf")
    with open(path, "w") as out:
        out.write("nameserver 127.0.0.1\n")
    words = ["unshare", "--mount", "--net", *([] if os.getuid() == 0 else ["--map-root-user"]),
             "/usr/bin/python3", "-c", _DEAF, path]
    allowed = subprocess.run([*words, "true"], capture_output=True, timeout=10).returncode == 0
    return words if allowed else None


def name_server_asked(pid):
    """Whether something waits in the deaf name server's socket."""
    with open(f"/proc/{pid}/net/udp") as table:
        for line in table:
            words = line.split()
            if words[1] == "0100007F:0035":
                return int(words[4].split(":")[1], 16) > 0
    return False


def reporting_into(directory):
    """The environment in which sanitizers write their reports there, for reports()."""
    options = f"log_path={directory}/report:exitcode=99"
    thread = f"{options}:second_deadlock_stack=1:suppressions={ROOT}/tests/tsan.supp"
    return {"ASAN_OPTIONS": f"{options}:detect_leaks=1",
            "UBSAN_OPTIONS": f"{options}:print_stacktrace=1",
            "TSAN_OPTIONS": thread}


def reports(directory):
    """What sanitizers wrote."""
    found = []
    for path in sorted(glob.glob(os.path.join(directory, "report.*"))):
        with open(path, errors="replace") as report:
            found.append(report.read())
    return found


class Process:
    """A child that dies with us, its output in a file."""

    def __init__(self, name, directory, argv, env=None, pass_fds=()):
        self.name = name
        self.log = os.path.join(directory, f"{name}.log")
        with open(self.log, "ab") as out:
            self.popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=dict(os.environ, **(env or {})),
                pass_fds=pass_fds,
                preexec_fn=lambda: _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
            )

    def running(self):
        return self.popen.poll() is None

    def send(self, number):
        self.popen.send_signal(number)

    def wait(self, timeout):
        """The exit status; a negative one is a signal."""
        return self.popen.wait(timeout)

    def end(self, number=signal.SIGTERM, timeout=10):
        """Sends the signal and waits; kills what does not listen. None when it had to be killed."""
        if self.running():
            self.send(number)
        try:
            return self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()
            return None

    def text(self):
        with open(self.log, errors="replace") as log:
            return log.read()


class Bus:
    """A dbus-daemon with the limits of Debian's system bus that matter to a client."""

    CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path={path}</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/> <allow own="*"/> <allow send_type="method_call"/>
    <allow send_type="signal"/> <allow send_requested_reply="true"/>
    <allow receive_type="method_call"/> <allow receive_type="method_return"/>
    <allow receive_type="error"/> <allow receive_type="signal"/>
  </policy>
  <limit name="max_replies_per_connection">128</limit>
</busconfig>
"""

    def __init__(self, directory):
        self.directory = directory
        self.path = os.path.join(directory, "bus")
        self.address = f"unix:path={self.path}"
        self.config = os.path.join(directory, "bus.conf")
        with open(self.config, "w") as out:
            out.write(self.CONFIG.format(path=self.path))
        self.start()

    def start(self):
        reader, writer = os.pipe()
        self.process = Process(
            "dbus-daemon",
            self.directory,
            ["dbus-daemon", f"--config-file={self.config}", "--nofork", "--nopidfile",
             f"--print-address={writer}"],
            pass_fds=[writer],
        )
        os.close(writer)
        with os.fdopen(reader) as pipe:
            assert pipe.readline().startswith("unix:"), "dbus-daemon does not start"

    def kill(self):
        self.process.end(signal.SIGKILL)
        if os.path.exists(self.path):
            os.unlink(self.path)

    def close(self):
        self.process.end()


class Broker:
    """Mosquitto without persistence: what a restart does not bring back is gone."""

    CONFIG = """listener {port} 127.0.0.1
{access}
persistence false
max_queued_messages 100000
log_dest file {directory}/mosquitto.messages
log_type all
log_timestamp_format %H:%M:%S
{user}
"""

    def __init__(self, directory, access="allow_anonymous true"):
        self.directory = directory
        self.access = access  # lines of its configuration
        self.process = None
        for _ in range(20):
            self.port = free_port()
            if self.start():
                return
        raise AssertionError("mosquitto does not start")

    def start(self):
        config = os.path.join(self.directory, "mosquitto.conf")
        with open(config, "w") as out:
            out.write(self.CONFIG.format(port=self.port, directory=self.directory,
                                         access=self.access,
                                         user="user root" if os.getuid() == 0 else ""))
        self.process = Process("mosquitto", self.directory, ["mosquitto", "-c", config])

        def answers():
            if not self.process.running():
                return True
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return True
            except OSError:
                return False

        wait_until(answers, 10 * SLACK, "mosquitto listens")
        return self.process.running()

    def kill(self):
        self.process.end(signal.SIGKILL)

    def close(self):
        self.process.end()


class Proxy:
    """The path to the broker: a TCP relay that can be cut, loudly or silently."""

    def __init__(self, target_port):
        self.target = ("127.0.0.1", target_port)
        self.lock = threading.Lock()
        self.open = threading.Event()
        self.connections = set()
        self.accepted = 0
        self.listener = None
        self.port = None
        self._listen()
        self.open.set()

    def _listen(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(("127.0.0.1", self.port or free_port()))
        self.listener.listen(16)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, args=[self.listener], daemon=True).start()

    def _accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            self.open.wait()
            try:
                far = socket.create_connection(self.target, 5)
                far.settimeout(None)
            except OSError:
                near.close()
                continue
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.accepted += 1
                self.connections.update((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=[source, sink], daemon=True).start()

    def _pump(self, source, sink):
        try:
            while data := source.recv(65536):
                self.open.wait()
                sink.sendall(data)
        except OSError:
            pass
        self._drop([source, sink])

    def _drop(self, ends):
        for end in ends:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
        with self.lock:
            self.connections.difference_update(ends)

    def drop(self):
        """Breaks what is connected now; new connections are welcome."""
        with self.lock:
            ends = list(self.connections)
        self._drop(ends)

    def refuse(self):
        """Breaks everything; who connects is refused."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.listener = None
        self.drop()

    def swallow(self):
        """Nothing gets through any more, and nobody is told."""
        self.open.clear()

    def heal(self):
        """The path is back; what was swallowed is gone with its connections."""
        if not self.open.is_set():
            self.drop()
            self.open.set()
        if self.listener is None:
            self._listen()

    def close(self):
        self.open.set()
        if self.listener is not None:
            self.refuse()


def yaml_of(content):
    """Text as it is; else JSON, which is YAML, and what stands in it as "!tag word" becomes that:
    JSON has no tags."""
    if isinstance(content, str):
        return content
    return re.sub(r'"(![a-z]+) ([^"]*)"', r'\1 "\2"', json.dumps(content, indent=1))


class Simulator:
    """`gatt2mqtt simulate` and its control socket."""

    def __init__(self, house, world):
        self.house = house
        self.path = os.path.join(house.dir, "control")
        self.world = os.path.join(house.dir, "world.yaml")
        with open(self.world, "w") as out:
            out.write(yaml_of(world))
        self.start()

    def start(self):
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.process = self.house.program(
            "simulate", ["--log-level", "debug", "simulate", "--control", self.path, self.world],
            {"DBUS_SYSTEM_BUS_ADDRESS": self.house.bus.address})

        def connects():
            assert self.process.running(), "the simulator ended:\n" + self.process.text()
            self.socket = socket.socket(socket.AF_UNIX)
            try:
                self.socket.connect(self.path)
                return True
            except OSError:
                self.socket.close()
                return False

        wait_until(connects, 10 * SLACK, "the simulator's control socket answers")
        self.socket.settimeout(10 * SLACK)
        self.reader = self.socket.makefile("r")
        self.ask("list")

    def ask(self, line):
        """Sends a command and gives the answer's text behind `ok`."""
        self.socket.sendall(line.encode() + b"\n")
        answer = self.reader.readline().strip()
        assert answer == "ok" or answer.startswith("ok "), f"{line}: {answer}"
        return answer[3:]

    def state(self, peripheral):
        return self.ask(f"state {peripheral}")

    def connected(self, peripheral):
        return self.state(peripheral).startswith("connected")

    def kill(self):
        self.reader.close()
        self.socket.close()
        self.process.end(signal.SIGKILL)

    def close(self):
        self.reader.close()
        self.socket.close()
        return self.process.end()


class Message:
    def __init__(self, message):
        self.at = time.monotonic()
        self.topic = message.topic
        self.payload = message.payload
        self.retain = message.retain
        self.qos = message.qos
        self.properties = getattr(message, "properties", None)

    @property
    def text(self):
        return self.payload.decode()

    @property
    def json(self):
        return json.loads(self.payload)

    def __repr__(self):
        return f"{self.topic} {'(retained) ' if self.retain else ''}{self.payload!r}"


_names = itertools.count()


class Recorder:
    """A subscriber to everything; remembers all messages in their order."""

    def __init__(self, port, filters=("#",), client_id=None, login=None, ca=None, qos=1):
        self.messages = []
        self.places = {}  # of a topic's messages
        self.changed = threading.Condition()
        self.ready = False
        self.client = paho.Client(client_id or f"recorder-{os.getpid()}-{next(_names)}",
                                  protocol=paho.MQTTv311)
        self.client.max_inflight_messages_set(0)
        self.client.max_queued_messages_set(0)
        self.client.on_message = self._on_message
        self.client.on_subscribe = self._on_subscribe
        if login:
            self.client.username_pw_set(*login)
        if ca:
            self.client.tls_set(ca)
        self.client.connect("127.0.0.1", port, keepalive=60)
        self.client.subscribe([(each, qos) for each in filters])
        self.client.loop_start()
        with self.changed:
            assert self.changed.wait_for(lambda: self.ready, 10 * SLACK), "no SUBACK"

    def _on_subscribe(self, *_):
        with self.changed:
            self.ready = True
            self.changed.notify_all()

    def _on_message(self, _client, _userdata, message):
        with self.changed:
            self.places.setdefault(message.topic, []).append(len(self.messages))
            self.messages.append(Message(message))
            self.changed.notify_all()

    def mark(self):
        """A place in the record, for `since`."""
        with self.changed:
            return len(self.messages)

    def on(self, topic, since=0):
        with self.changed:
            return [self.messages[i] for i in self.places.get(topic, []) if i >= since]

    def wait(self, topic, accept=None, since=0, timeout=10):
        """The first message on the topic, from `since` on, that `accept` (a text or a function)
        takes."""
        if isinstance(accept, str):
            text = accept
            accept = lambda message: message.text == text
        found = []

        def look():
            for each in self.messages[look.next:]:
                look.next += 1
                if each.topic == topic and (accept is None or accept(each)):
                    found.append(each)
                    return True
            return False

        look.next = since
        with self.changed:
            got = self.changed.wait_for(look, timeout)
        assert got, f"not within {timeout:g} s on {topic}; was there: {self.on(topic, since)[-5:]}"
        return found[0]

    def wait_count(self, topic, count, since=0, timeout=10):
        with self.changed:
            self.changed.wait_for(lambda: len(self.on(topic, since)) >= count, timeout)
        return self.on(topic, since)

    def publish(self, topic, payload, qos=1, retain=False):
        self.client.publish(topic, payload, qos=qos, retain=retain).wait_for_publish(10)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


class Gateway:
    """`gatt2mqtt run` with a configuration, as text or as yaml_of() takes it."""

    def __init__(self, house, config, before=(), env=None):
        self.house = house
        self.config = os.path.join(house.dir, "config.yaml")
        self.write(config)
        self.before = list(before)
        self.env = dict(env or {}, DBUS_SYSTEM_BUS_ADDRESS=house.bus.address)
        self.start()

    def write(self, config):
        """Puts the file in place, all at once."""
        with open(self.config + ".new", "w") as out:
            out.write(yaml_of(config))
        os.rename(self.config + ".new", self.config)

    def start(self):
        self.process = self.house.program(
            "run", ["-c", self.config, "--log-level", "debug", "run"], self.env, self.before)

    def stop(self, number=signal.SIGTERM):
        """Ends it as a service manager does; gives the seconds it took."""
        assert self.process.running(), "the gateway ended by itself:\n" + self.process.text()
        began = time.monotonic()
        status = self.process.end(number)
        assert status == 0, f"exit status {status}"
        return time.monotonic() - began

    def kill(self):
        self.process.end(signal.SIGKILL)

    def close(self):
        return self.process.end() if self.process.running() else self.process.wait(0)


class House:
    """Everything of one test; close() ends it, gateway first."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="g2m-")
        self.closers = []
        self.processes = []
        self.bus = self._own(Bus(self.dir))

    def _own(self, thing):
        self.closers.append(thing)
        return thing

    def program(self, name, arguments, env, before=()):
        """Starts the program under test."""
        env = dict(env, **reporting_into(self.dir))
        process = Process(name, self.dir, [*before, *GATT2MQTT, *arguments], env)
        self.processes.append(process)
        return process

    def broker(self, **options):
        return self._own(Broker(self.dir, **options))

    def second_broker(self, **options):
        directory = os.path.join(self.dir, "second")
        os.mkdir(directory)
        return self._own(Broker(directory, **options))

    def proxy(self, port):
        return self._own(Proxy(port))

    def recorder(self, port, **options):
        return self._own(Recorder(port, **options))

    def simulate(self, world):
        return self._own(Simulator(self, world))

    def gateway(self, config, **options):
        return self._own(Gateway(self, config, **options))

    def close(self):
        """Ends everything, last started first; gives what is to be complained about."""
        complaints = []
        for thing in reversed(self.closers):
            status = thing.close()
            if isinstance(thing, (Gateway, Simulator)) and status not in (0, -signal.SIGKILL):
                complaints.append(f"{thing.process.name} ended with status {status}")
        self.closers = []
        return complaints + reports(self.dir)

    def logs(self):
        parts = []
        for path in sorted(glob.glob(os.path.join(self.dir, "*.log"))):
            with open(path, errors="replace") as log:
                lines = log.read().splitlines()[-80:]
            parts.append("\n".join([f"---- {os.path.basename(path)}", *lines]))
        return "\n".join(parts)

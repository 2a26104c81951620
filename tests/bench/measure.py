"""Starts what the benchmark measures, in a directory of its own and on loopback only, and reads
what it costs. Everything that was started is ended by its own process id."""

import ctypes
import json
import mmap
import os
import random
import select
import signal
import socket
import struct
import subprocess
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = "/usr/bin/python3"
# socket: ours with `notify: socket`
KINDS = ("ours", "socket", "pipe", "nodelay", "bleak")
VALUE = "be9c0002-8d20-4b5a-9a6e-0c0ffee00000"

_libc = ctypes.CDLL(None)


class Failed(Exception):
    """A step of the benchmark could not be measured."""


def wait_until(predicate, timeout, what, pause=0.005):
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > deadline:
            raise Failed(f"not within {timeout:g} s: {what}")
        time.sleep(pause)


class Process:
    """A child that dies with us; its complaints go to a file, its words can be read."""

    def __init__(self, name, directory, argv, env=None, words=False, pass_fds=()):
        self.name, self.buffer = name, b""
        self.log = os.path.join(directory, f"{name}.log")
        with open(self.log, "wb") as out:
            self.popen = subprocess.Popen(
                argv, stdin=subprocess.PIPE if words else subprocess.DEVNULL,
                stdout=subprocess.PIPE if words else out, stderr=out, pass_fds=pass_fds,
                env=dict(os.environ, **(env or {})),
                preexec_fn=lambda: _libc.prctl(1, signal.SIGKILL))  # PR_SET_PDEATHSIG
        self.pid = self.popen.pid

    def text(self):
        with open(self.log, errors="replace") as log:
            return log.read()

    def say(self, line):
        self.popen.stdin.write(line.encode() + b"\n")
        self.popen.stdin.flush()

    def hear(self, word, timeout):
        """The next line that begins with the word, as words."""
        deadline = time.monotonic() + timeout
        fd = self.popen.stdout.fileno()
        while True:
            while b"\n" in self.buffer:
                line, self.buffer = self.buffer.split(b"\n", 1)
                words = line.decode().split()
                if words and words[0] == word:
                    return words
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                raise Failed(f"{self.name} does not say `{word}`: {self.text()[-500:]}")
            more = os.read(fd, 4096)
            if not more:
                raise Failed(f"{self.name} ended: {self.text()[-500:]}")
            self.buffer += more

    def end(self, number=signal.SIGTERM, timeout=5):
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGCONT)
            self.popen.send_signal(number)
            try:
                self.popen.wait(timeout)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe:
                pipe.close()


def cpu(pid):
    """Seconds of CPU of all threads (the kernel's clock of that process, in ns)."""
    return time.clock_gettime((~pid) << 3 | 2)


def memory(pid):
    """(RSS, RssAnon) in KiB."""
    values = {}
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            key, _, value = line.partition(":")
            values[key] = value.split()
    return int(values["VmRSS"][0]), int(values["RssAnon"][0])


def wakeups(pid):
    """How often the first thread, our own, has slept."""
    with open(f"/proc/{pid}/task/{pid}/status") as status:
        for line in status:
            if line.startswith("voluntary_ctxt_switches"):
                return int(line.split()[1])
    raise Failed("no count of wake-ups")


class Times:
    """A file of clock.h: what a program of ours wrote, and when."""

    HEADER = 32

    def __init__(self, path):
        self.path = path
        self.file = open(path, "rb")
        self.map = mmap.mmap(self.file.fileno(), 0, prot=mmap.PROT_READ)

    def header(self):
        """(n, duplicates, unknown, last_ns)"""
        return struct.unpack_from("<4Q", self.map)

    def range(self, first, count):
        return struct.unpack_from(f"<{count}Q", self.map, self.HEADER + 8 * first)

    def close(self):
        self.map.close()
        self.file.close()
        os.unlink(self.path)


def percentile(ordered, share):
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else None


BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
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

BROKER = """listener {port} 127.0.0.1
allow_anonymous true
persistence false
max_inflight_messages {window}
max_queued_messages 0
set_tcp_nodelay true
{user}
"""


class Place:
    """A bus with the limits of Debian's system bus, and a broker for each receive maximum."""

    def __init__(self, directory, build):
        self.directory = directory
        self.build = build
        self.brokers = {}
        self.number = 0
        path = os.path.join(directory, "bus")
        config = os.path.join(directory, "bus.conf")
        with open(config, "w") as out:
            out.write(BUS.format(path=path))
        reader, writer = os.pipe()
        self.bus = Process("dbus-daemon", directory,
                           ["dbus-daemon", f"--config-file={config}", "--nofork", "--nopidfile",
                            f"--print-address={writer}"], pass_fds=[writer])
        os.close(writer)
        with os.fdopen(reader) as pipe:
            if not pipe.readline().startswith("unix:"):
                raise Failed("dbus-daemon does not start")
        self.env = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={path}"}

    def program(self, name):
        return os.path.join(self.build, "tests/bench", f"bench_{name}")

    def broker(self, window=20):
        """(process, port); runs until the end"""
        for _ in range(20):
            if window in self.brokers:
                return self.brokers[window]
            port = random.randint(15000, 32000)
            config = os.path.join(self.directory, f"mosquitto-{window}.conf")
            with open(config, "w") as out:
                out.write(BROKER.format(port=port, window=window,
                                        user="user root" if os.getuid() == 0 else ""))
            process = Process(f"mosquitto-{window}", self.directory, ["mosquitto", "-c", config])

            def answers():
                if process.popen.poll() is not None:
                    return True
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0

            wait_until(answers, 10, "mosquitto listens")
            if process.popen.poll() is None:
                self.brokers[window] = process, port
        raise Failed("mosquitto does not start")

    def close(self):
        for process, _ in self.brokers.values():
            process.end()
        self.bus.end()


def fields_of(size):
    """All bytes of the value: a number for each thing, and what is left as text."""
    fields = {"seq": {"type": "uint32"}}
    if size < 20:
        return dict(fields, **({"data": {"type": "bytes"}} if size > 4 else {}))
    for axis in ("x", "y", "z"):
        fields[axis] = {"type": "int16"}
    fields["temperature"] = {"type": "int16", "scale": 0.01, "unit": "°C"}
    fields["humidity"] = {"type": "uint16", "scale": 0.01, "unit": "%"}
    fields["pressure"] = {"type": "uint32", "scale": 0.1, "unit": "Pa"}
    fields["voltage"] = {"type": "uint16", "scale": 0.001, "unit": "V"}
    if size > 20:
        fields["data"] = {"type": "bytes"}
    return fields


def settings(port, devices, size, form, qos, notify="signal"):
    characteristic = {"uuid": VALUE, "subscribe": True, "qos": qos, "notify": notify}
    if form == "fields":
        characteristic["fields"] = fields_of(size)
    elif form != "json":
        characteristic["payload"] = form
    return {
        "mqtt": {"url": f"mqtt://127.0.0.1:{port}"},
        "gateway": {"id": "bench"},
        "bluetooth": {"connections": 200},
        "devices": {
            f"device{i}": {"match": {"address": f"C8:00:00:00:{i >> 8:02X}:{i & 255:02X}"},
                           "characteristics": {"value": characteristic}}
            for i in range(devices)
        },
    }


class Session:
    """One program at work: its BlueZ, its subscriber, all devices subscribed."""

    def __init__(self, place, kind, devices=10, size=20, form="fields", qos=0, window=20,
                 wrapper=(), patience=20):
        self.place, self.kind, self.processes = place, kind, []
        self.times = []
        self.patience = patience
        place.number += 1
        directory = place.directory
        self.broker, port = place.broker(window)
        sink_form = "order" if size < 4 else form if kind == "ours" and form in ("hex", "raw") \
            else "json"
        sent = os.path.join(directory, f"sent-{place.number}")
        got = os.path.join(directory, f"got-{place.number}")
        try:
            self.source = self.start("source", [place.program("source"), str(devices), str(size),
                                                sent], words=True)
            self.source.hear("ready", 5)
            self.sink = self.start("sink", [place.program("sink"), str(port), sink_form, got],
                                   words=True)
            self.sink.hear("ready", 5)
            self.sent, self.got = Times(sent), Times(got)
            self.times = [self.sent, self.got]
            argv = self.argv(port, devices, size, form, qos)
            before = time.monotonic_ns()
            self.program = self.start(kind, [*wrapper, *argv])
            self.pid = self.program.pid
            self.start_s = (int(self.source.hear("subscribed", patience)[2]) - before) / 1e9
            self.start_cpu = cpu(self.pid)
            time.sleep(0.4)  # what follows the last subscription, to be over before it is measured
            self.flow(100, 20)
        except BaseException:
            self.close()
            raise

    def start(self, name, argv, words=False):
        process = Process(name, self.place.directory, argv, env=self.place.env, words=words)
        self.processes.append(process)
        return process

    def argv(self, port, devices, size, form, qos):
        if self.kind in ("pipe", "nodelay"):
            return [self.place.program("pipe"), str(port), str(qos),
                    *(["nodelay"] if self.kind == "nodelay" else [])]
        if self.kind == "bleak":
            return [PYTHON, os.path.join(HERE, "bleak_pipe.py"), str(port), str(qos),
                    *(f"C8:00:00:00:{i >> 8:02X}:{i & 255:02X}" for i in range(devices))]
        config = os.path.join(self.place.directory, "bench.yaml")
        with open(config, "w") as out:
            json.dump(settings(port, devices, size, form, qos,
                               "socket" if self.kind == "socket" else "signal"), out)
        return [os.path.join(self.place.build, "src/gatt2mqtt"), "-c", config, "run"]

    def received(self):
        n, duplicates, _, _ = self.got.header()
        return n - duplicates

    def settle(self, wanted, patience=1.5):
        """Waits until so many have arrived, or none has for a while."""
        last, since = self.received(), time.monotonic()
        while last < wanted and time.monotonic() - since < patience:
            time.sleep(0.005)
            now = self.received()
            if now != last:
                last, since = now, time.monotonic()
        return last

    def send(self, rate, count, during=None):
        """(first, wanted): the sequence number of the first, and what then must have arrived"""
        before = self.received()
        self.source.say(f"notify {rate} {count}")
        if during:
            during()
        words = self.source.hear("sent", 30 + (3 * count / rate if rate else 30))
        return int(words[1]), before + count

    def flow(self, rate, count, during=None):
        """Sends so many at that rate; what it cost and how long each took."""
        duplicates = self.got.header()[1]
        before = cpu(self.pid)
        first, wanted = self.send(rate, count, during)
        arrived = self.settle(wanted)
        used = cpu(self.pid) - before
        sent, got = self.sent.range(first, count), self.got.range(first, count)
        took = sorted((b - a) / 1e3 for a, b in zip(sent, got) if b)
        return {
            "rate": rate, "count": count, "lost": wanted - arrived,
            "duplicates": self.got.header()[1] - duplicates,
            "cpu_per_10k": used / count * 10000,
            "p50_us": percentile(took, 0.5), "p99_us": percentile(took, 0.99),
            "max_us": took[-1] if took else None,
            "behind_s": max(0.0, (max(got) - sent[-1]) / 1e9) if took else None,
            "span_s": (sent[-1] - sent[0]) / 1e9,
        }

    def adverts(self, rate, count):
        """CPU for 10,000 advertisements that nobody asked for."""
        before = cpu(self.pid)
        self.source.say(f"adverts {rate} {count}")
        self.source.hear("adverts", 10 + 3 * count / rate)
        time.sleep(0.1)
        return (cpu(self.pid) - before) / count * 10000

    def close(self):
        for process in reversed(self.processes):
            process.end()
        for times in self.times:
            times.close()
        self.times = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Floor:
    """The empty program with the gateway's libraries."""

    def __init__(self, place):
        _, port = place.broker()
        self.process = Process("floor", place.directory, [place.program("floor"), str(port)],
                               env=place.env, words=True)
        self.pid = self.process.pid
        self.process.hear("ready", 10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.end()

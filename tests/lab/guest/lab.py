"""What the scenarios share: programs to start, waiting with a limit, checks with their times.

Runs as root in the guest on Debian's python, standard library only. Everything a scenario starts is
ended by it. Each program's output goes to /run/out, in memory; boot copies it to the host.
"""
import grp
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

LAB = os.environ["LAB"]
BUILD = os.environ["BUILD"]
OUT = "/run/out"
DEBUG = os.environ.get("LAB_DEBUG") == "1"
EXPERIMENTAL = os.environ.get("EXPERIMENTAL") == "1"  # bluetoothd's experimental interfaces


class Failed(Exception):
    """A check did not hold; the scenario ends."""


PROGRAMS = []  # that run and should go on


def all_run():
    """Fails when a program has ended by itself: nobody waits for what cannot come any more. But one
    with an `on_end` is left to that."""
    for program in list(PROGRAMS):
        if program.poll() is None:
            continue
        if not program.on_end:
            raise Failed(f"{program.name} has ended, status {program.returncode}")
        PROGRAMS.remove(program)
        program.on_end()


def wait_for(what, condition, limit, pause=0.01):
    """Calls condition() until it gives something true, and returns that."""
    end = time.monotonic() + limit
    while True:
        result = condition()
        if result:
            return result
        all_run()
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {limit} s")
        time.sleep(pause)


def run(*argv, limit=30):
    """Runs a program to its end; its standard output. Fails where the program does."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=limit, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Lines:
    """The lines that a program writes, collected by a thread, each with the time of its arrival."""

    def __init__(self, stream, copy):
        self.lines = []
        self.copy = open(copy, "w", encoding="utf-8")
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream):
        for line in stream:
            self.take(time.time(), line.rstrip("\n"))
            self.copy.write(line)

    def take(self, at, line):
        self.lines.append((at, line))


class Message:
    """What arrived on MQTT: when, was it retained, on which topic, with what payload."""

    def __init__(self, line):
        at, retained, self.topic, self.payload = line.split("\t", 3)
        self.time = float(at)
        self.retained = retained == "1"


class Recorder(Lines):
    """Messages by topic, from mosquitto_sub's lines."""

    def __init__(self, stream, copy):
        self.by_topic = {}
        self.news = threading.Condition()
        super().__init__(stream, copy)

    def take(self, at, line):
        message = Message(line)
        with self.news:
            self.by_topic.setdefault(message.topic, []).append(message)
            self.news.notify_all()

    def since(self, topic, since):
        """The messages on a topic from a time on."""
        messages = self.by_topic.get(topic, [])
        first = len(messages)
        while first > 0 and messages[first - 1].time >= since:
            first -= 1
        return messages[first:]

    def wait_for(self, what, condition, limit):
        """Waits until condition() gives something true, asked at each message."""
        end = time.monotonic() + limit
        with self.news:
            while True:
                result = condition()
                if result:
                    return result
                left = end - time.monotonic()
                if left <= 0:
                    raise Failed(f"{what}: not within {limit:g} s")
                all_run()
                self.news.wait(min(left, 1))


class Broker:
    """Debian's Mosquitto on the guest's loopback, and somebody who listens to everything."""

    PORT = 1883  # nobody else is in the guest

    def __init__(self, scenario):
        with open("/run/mosquitto.conf", "w", encoding="ascii") as f:
            f.write(f"listener {self.PORT} 127.0.0.1\nallow_anonymous true\npersistence false\n")
        scenario.start("mosquitto", "mosquitto", "-c", "/run/mosquitto.conf")
        wait_for("the broker", self._answers, 20)
        listener = scenario.start("mosquitto_sub", "stdbuf", "-oL", "mosquitto_sub", "-p",
                                  str(self.PORT), "-q", "1", "-t", "#", "-F",
                                  "%U\\t%r\\t%t\\t%p", stdout_lines=Recorder)
        self.recorder = listener.lines
        end = time.monotonic() + 20
        while not self.since("lab/ready", 0):  # the first ones may come before the subscription
            if time.monotonic() > end:
                raise Failed("nothing arrives from the broker")
            self.publish("lab/ready", "1")
            time.sleep(0.1)

    def _answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.PORT)) == 0

    def publish(self, topic, payload):
        """Publishes with QoS 1; returns when the broker has it."""
        run("mosquitto_pub", "-p", str(self.PORT), "-q", "1", "-t", topic, "-m", payload)

    def since(self, topic, since):
        return self.recorder.since(topic, since)

    def last(self, topic):
        return self.recorder.by_topic[topic][-1]

    def wait(self, topic, since, limit, fits=lambda message: True):
        """The first message on a topic since a time that fits."""
        return self.recorder.wait_for(
            topic, lambda: next((m for m in self.since(topic, since) if fits(m)), None), limit)

    def wait_count(self, topic, count, since, stall):
        """Waits for so many messages on a topic; fails when none comes for `stall` seconds."""
        with self.recorder.news:
            messages = self.recorder.by_topic.setdefault(topic, [])
            before = len(messages) - len(self.since(topic, since))
        while len(messages) < before + count:
            seen = len(messages)
            try:
                self.recorder.wait_for(topic, lambda n=seen: len(messages) > n, stall)
            except Failed as failed:
                raise Failed(f"{failed}: {seen - before} of {count} messages") from None


def cpu_seconds(program):
    """The CPU time that a running program has used."""
    with open(f"/proc/{program.pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Scenario:
    """Programs, checks and the report of one scenario."""

    def __init__(self, name):
        self.name = name
        self.programs = PROGRAMS
        self.checks = []
        self.started = time.monotonic()

    def say(self, text):
        print(f"{time.monotonic() - self.started:7.2f} s  {text}", flush=True)

    def check(self, promise, held, detail=""):
        """Notes and prints the outcome; ends the scenario where it does not hold."""
        self.checks.append({"promise": promise, "held": bool(held), "detail": detail})
        self.say(f"{'ok  ' if held else 'FAIL'}  {promise}{': ' if detail else ''}{detail}")
        if not held:
            raise Failed(promise)

    def start(self, name, *argv, user=None, stdout_lines=None):
        """Starts a program; its output goes to NAME.log, standard output where wanted into a class
        of Lines and NAME.txt."""
        if user:
            group = grp.getgrgid(pwd.getpwnam(user).pw_gid).gr_name
            argv = ("setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups") + argv
        log = open(f"{OUT}/{name}.log", "ab")  # one that is started again goes on in its log
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=log,
                                   stdout=subprocess.PIPE if stdout_lines else log,
                                   text=bool(stdout_lines), cwd="/run")
        process.lines = None
        if stdout_lines:
            process.lines = stdout_lines(process.stdout, f"{OUT}/{name}.txt")
        process.name = name
        process.on_end = None
        self.programs.append(process)
        return process

    def kill(self, process, with_signal=signal.SIGKILL, limit=10):
        """Ends a program that was to run on; its exit status."""
        self.programs.remove(process)
        process.send_signal(with_signal)
        return process.wait(limit)

    def start_bus(self):
        for stale in ("/run/dbus/system_bus_socket", "/run/dbus/pid"):
            if os.path.exists(stale):
                os.unlink(stale)
        self.bus = self.start("dbus-daemon", "dbus-daemon", "--system", "--nofork", "--nopidfile",
                              "--nosyslog")
        wait_for("the system bus", lambda: os.path.exists("/run/dbus/system_bus_socket"), 20)

    def start_bluetoothd(self):
        self.bluetoothd = self.start("bluetoothd", "/usr/libexec/bluetooth/bluetoothd", "-n", "-f",
                                     f"{LAB}/guest/main.conf", *(["-d"] if DEBUG else []),
                                     *(["-E"] if EXPERIMENTAL else []))

    def start_bluetooth(self, world):
        """The radio and a kernel that sees it, a bus and bluetoothd."""
        self.start_bus()
        self.start_bluetoothd()
        self.radio = Radio(self, world)
        wait_for("bluetoothd's adapter", lambda: adapters().get("hci0"), 30)
        self.say("bluetoothd has its adapter")
        if DEBUG:
            self.start("dbus-monitor", "dbus-monitor", "--system",
                       "type='signal',sender='org.bluez'",
                       "type='signal',sender='org.freedesktop.DBus'").on_end = lambda: None

    def finish(self, error):
        """Ends the programs, last one first; returns the exit status."""
        try:
            all_run()
        except Failed as ended:
            error = error or str(ended)
        for process in reversed(self.programs):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        if error is not None:
            self.say(f"FAIL  {error}")
        with open(f"{OUT}/result.json", "w", encoding="utf-8") as f:
            json.dump({"scenario": self.name, "passed": error is None, "error": error,
                       "seconds": round(time.monotonic() - self.started, 2),
                       "checks": self.checks}, f, indent=1, ensure_ascii=False)
        held = sum(check["held"] for check in self.checks)
        self.say(f"{self.name}: {held} passed, {0 if error is None else 1} failed")
        return 0 if error is None else 1


class Radio:
    """The virtual radio: its event lines ("TIME WHO WHAT") and its control socket."""

    SOCKET = "/run/radio.sock"
    YOUNGEST = 150  # ms that a link lives at least: README.md, the kernel's bug

    def __init__(self, scenario, world):
        process = scenario.start("radio", f"{BUILD}/tests/lab/lab_radio", "--control",
                                 self.SOCKET, "--trace", f"{OUT}/air.btsnoop", "--youngest",
                                 str(self.YOUNGEST), world, stdout_lines=Lines)
        self.lines = process.lines
        wait_for("the radio", lambda: self.events("hci0", "plugged in"), 10)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(self.SOCKET)
        self.answers = self.socket.makefile("r")

    def ask(self, command):
        """A command of the control protocol; what follows its "ok"."""
        self.socket.sendall(command.encode() + b"\n")
        answer = self.answers.readline().strip()
        if answer != "ok" and not answer.startswith("ok "):
            raise Failed(f"radio: {command}: {answer}")
        return answer[3:]

    def events(self, who, what, since=0.0):
        """The times of the events of `who` that begin with `what`."""
        times = []
        for _, line in list(self.lines.lines):
            words = line.split(" ", 2)
            if len(words) == 3 and words[1] == who and words[2].startswith(what):
                if float(words[0]) >= since:
                    times.append(float(words[0]))
        return times

    def wait(self, who, what, since, limit):
        """The time of the first such event since then."""
        return wait_for(f"radio: {who} {what}", lambda: self.events(who, what, since), limit)[0]


def busctl(*argv):
    """What busctl prints, or None where it fails."""
    # starting bluetoothd by activation would hide that ours is dead
    done = subprocess.run(["busctl", "--system", "--auto-start=no", *argv], capture_output=True,
                          text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def adapters():
    """The addresses of bluetoothd's adapters by their names."""
    found = {}
    for path in (busctl("tree", "--list", "org.bluez") or "").split():
        if path.count("/") == 3:
            address = busctl("get-property", "org.bluez", path, "org.bluez.Adapter1", "Address")
            found[path.rsplit("/", 1)[1]] = (address or "").removeprefix("s ").strip('"')
    return found


def share(path, mode, more=""):
    """A copy that every user of the guest can use, whatever the rights of the folders above; with
    `more` text at its end."""
    target = f"/run/{os.path.basename(path)}"
    shutil.copy(path, target)
    if more:
        with open(target, "a", encoding="utf-8") as f:
            f.write(more)
    os.chmod(target, mode)
    return target


def main(name, play):
    os.makedirs(OUT, exist_ok=True)
    scenario = Scenario(name)
    error = None
    try:
        play(scenario)
    except Failed as failed:
        error = str(failed)
    except Exception as unexpected:  # the report must be written, whatever it was
        error = f"{type(unexpected).__name__}: {unexpected}"
        import traceback
        traceback.print_exc()
    sys.exit(scenario.finish(error))

"""What the scenarios share: programs to start, waiting with a limit, checks with their times.

Runs as root in the guest on Debian's python, standard library only. Everything a scenario starts is
ended by it; each program's output goes to the out folder, /mnt.
"""
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

LAB = os.environ["LAB"]
BUILD = os.environ["BUILD"]
OUT = "/mnt"


class Failed(Exception):
    """A check did not hold; the scenario ends."""


def wait_for(what, condition, limit, pause=0.01):
    """Calls condition() until it gives something true, and returns that."""
    end = time.monotonic() + limit
    while True:
        result = condition()
        if result:
            return result
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

    def __init__(self, stream, copy=None):
        self.lines = []
        self.copy = open(copy, "w", encoding="utf-8") if copy else None
        threading.Thread(target=self._read, args=(stream,), daemon=True).start()

    def _read(self, stream):
        for line in stream:
            self.lines.append((time.time(), line.rstrip("\n")))
            if self.copy:
                self.copy.write(line)
                self.copy.flush()


class Scenario:
    """Programs, checks and the report of one scenario."""

    def __init__(self, name):
        self.name = name
        self.programs = []
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

    def start(self, name, *argv, user=None, stdout_lines=False):
        """Starts a program; its output goes to /mnt/NAME.log, or standard output into Lines."""
        if user:
            argv = ("setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups") + argv
        log = open(f"{OUT}/{name}.log", "wb")
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=log,
                                   stdout=subprocess.PIPE if stdout_lines else log,
                                   text=stdout_lines, cwd="/run")
        process.lines = (Lines(process.stdout, f"{OUT}/{name}.txt") if stdout_lines else None)
        process.name = name
        self.programs.append(process)
        return process

    def all_alive(self):
        return [p.name for p in self.programs if p.poll() is not None]

    def start_bluetooth(self, world):
        """The radio and a kernel that sees it, a bus and bluetoothd."""
        self.start("dbus-daemon", "dbus-daemon", "--system", "--nofork", "--nopidfile",
                   "--nosyslog")
        wait_for("the system bus", lambda: os.path.exists("/run/dbus/system_bus_socket"), 20)
        self.start("bluetoothd", "/usr/libexec/bluetooth/bluetoothd", "-n", "-d", "-f",
                   f"{LAB}/guest/main.conf")
        self.radio = Radio(self, world)
        # one call: starting bluetoothd by activation instead would hide that ours is dead
        wait_for("bluetoothd's adapter", lambda: subprocess.run(
            ["busctl", "--system", "--auto-start=no", "get-property", "org.bluez",
             "/org/bluez/hci0", "org.bluez.Adapter1", "Address"],
            capture_output=True, check=False).returncode == 0, 30)
        self.say("bluetoothd has its adapter")

    def finish(self, error):
        """Ends the programs, last one first; returns the exit status."""
        dead = self.all_alive()
        for process in reversed(self.programs):
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        if error is None and dead:
            error = f"ended by themselves: {', '.join(dead)}"
        if error is not None:
            self.say(f"FAIL  {error}")
        with open(f"{OUT}/result.json", "w", encoding="utf-8") as f:
            json.dump({"scenario": self.name, "passed": error is None, "error": error,
                       "seconds": round(time.monotonic() - self.started, 2),
                       "checks": self.checks}, f, indent=1, ensure_ascii=False)
        self.say(f"{self.name}: {'passed' if error is None else 'FAILED'}, "
                 f"{len(self.checks)} checks")
        return 0 if error is None else 1


class Radio:
    """The virtual radio: its event lines ("TIME WHO WHAT") and its control socket."""

    SOCKET = "/run/radio.sock"

    def __init__(self, scenario, world):
        process = scenario.start("radio", f"{BUILD}/tests/lab/lab_radio", "--control",
                                 self.SOCKET, "--trace", f"{OUT}/air.btsnoop", world,
                                 stdout_lines=True)
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


def copy_program(path):
    """A program where every user of the guest can run it, whatever the build folder's rights."""
    target = f"/run/{os.path.basename(path)}"
    shutil.copy(path, target)
    os.chmod(target, 0o755)
    return target


def main(name, play):
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

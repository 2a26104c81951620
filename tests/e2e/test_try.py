"""The front door: what deploy/try runs once it has built. It must show the simulated house, let its
lamp be switched, and leave nothing behind, however it ends."""

import fcntl
import glob
import os
import pty
import re
import selectors
import shlex
import signal
import subprocess
import termios
import time
import uuid

import pytest

from harness import GATT2MQTT, ROOT, SLACK, reporting_into, reports, variant, wait_until

pytestmark = variant


def own_terminal():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class FrontDoor:
    def __init__(self, directory, *options, terminal=False, tmpdir=None):
        program = os.path.join(directory, "gatt2mqtt")
        with open(program, "w") as script:
            script.write(f'#!/bin/sh\nexec {shlex.join(GATT2MQTT)} "$@"\n')
        os.chmod(program, 0o755)
        self.mark = f"E2E_MARK={uuid.uuid4()}"
        self.output = b""
        name, value = self.mark.split("=")
        argv = ["/usr/bin/python3", "-B", os.path.join(ROOT, "deploy/demo.py"), "--program", program,
                "--demo", *options]
        env = dict(os.environ, TMPDIR=tmpdir or directory, TERM="xterm", **{name: value},
                   **reporting_into(directory))
        if terminal:
            self.ours, theirs = pty.openpty()
            self.popen = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=env,
                                          start_new_session=True, preexec_fn=own_terminal)
            os.close(theirs)
            self.fd = self.ours
        else:
            self.popen = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                          stderr=subprocess.STDOUT, env=env)
            self.ours = self.popen.stdin.fileno()
            self.fd = self.popen.stdout.fileno()
        os.set_blocking(self.fd, False)

    def type(self, text):
        os.write(self.ours, text.encode())

    def see(self, pattern, timeout=20):
        """Waits until it shows what matches; gives what it showed from there on."""
        deadline = time.monotonic() + timeout * SLACK
        with selectors.DefaultSelector() as selector:
            selector.register(self.fd, selectors.EVENT_READ)
            while True:
                text = self.output.decode(errors="replace")
                found = re.search(pattern, text)
                if found:
                    return text[found.start():]
                left = deadline - time.monotonic()
                assert left > 0, f"{pattern} not shown:\n{text}"
                if selector.select(left):
                    try:
                        data = os.read(self.fd, 65536)
                    except OSError:  # the terminal's other end is closed
                        data = b""
                    assert data, f"it ended without showing {pattern}:\n{text}"
                    self.output += data

    def running(self):
        """The processes that it started and that still live."""
        found = []
        for path in glob.glob("/proc/[0-9]*/environ"):
            try:
                with open(path, "rb") as environ:
                    if self.mark.encode() in environ.read().split(b"\0"):
                        found.append(int(path.split("/")[2]))
            except OSError:
                continue
        return found

    def assert_gone(self, status):
        assert self.popen.wait(15 * SLACK) == status
        wait_until(lambda: not self.running(), 5 * SLACK, "all that it started has ended")

    def close(self):
        for pid in self.running():
            os.kill(pid, signal.SIGKILL)
        self.popen.wait()


@pytest.fixture
def door(tmp_path):
    opened = []

    def open_door(*options, **more):
        opened.append(FrontDoor(str(tmp_path), *options, **more))
        return opened[-1]

    yield open_door
    for each in opened:
        each.close()
    assert reports(tmp_path) == []


def test_it_shows_the_house_and_switches_the_lamp(door, tmp_path):
    front = door()
    front.see(r"strap +heart_rate +\d+ bpm\n")
    front.see(r"thermometer +temperature +\d+\.\d+ °C\n")
    front.see(r"thermometer +battery +\d+%\n")
    front.see(r"strap +battery +\d+%\n")
    front.type("lamp on\n")
    front.see(r"lamp +power/set +ON\n")
    front.see(r"lamp +power/result +ok")
    front.see(r"lamp +power +on\n")
    front.type("lamp 40\n")
    front.see(r"lamp +brightness/result +ok")
    front.see(r"lamp +brightness +40%\n")
    front.type("lamp 300\n")
    front.see(r"lamp +brightness/result +invalid_value: ")
    front.type("nonsense\n")
    front.see(r"'nonsense' is no command")
    assert "\x1b" not in front.output.decode(), "colours on a pipe"
    front.type("quit\n")
    front.see(r"gateway +status +offline\n")
    front.assert_gone(0)
    assert not [each for each in os.listdir(tmp_path) if each.startswith("gatt2mqtt-try")]


def test_the_folder_for_temporary_files_may_have_a_long_name(door, tmp_path):
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    front = door(tmpdir=str(folder))
    front.see(r"gateway +status +online")
    front.type("quit\n")
    front.see("has ended")
    front.assert_gone(0)
    assert os.listdir(folder) == []


def test_on_a_terminal_what_is_typed_stays_below_and_ctrl_c_ends_all(door):
    front = door(terminal=True)
    front.see(r"lamp +availability +\S*online")
    front.type("lamp onn\x7f\r")
    front.see(r"lamp +power +\S*on")
    front.type("\x03")
    front.see("has ended")
    front.assert_gone(0)


def test_it_ends_by_itself_after_a_given_time(door):
    front = door("--for", "3s")
    front.popen.stdin.close()  # no more input: not the end
    began = time.monotonic()
    front.see("has ended")
    assert time.monotonic() - began > 2
    front.assert_gone(0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_no_end_leaves_anything_running(door, number):
    front = door()
    front.see(r"gateway +status +online")
    # itself, bus, peripherals, gateway, listener; and the broker where this machine has none
    assert len(front.running()) >= 5
    front.popen.send_signal(number)
    front.assert_gone(0 if number != signal.SIGKILL else -number)


def test_a_gateway_that_ends_is_told_and_everything_else_ended(door, tmp_path):
    front = door()
    front.see(r"gateway +status +online")
    for pid in front.running():
        with open(f"/proc/{pid}/cmdline", "rb") as cmdline:
            if cmdline.read().split(b"\0")[-2] == b"run":
                os.kill(pid, signal.SIGKILL)
    front.see("the gateway ended by itself")
    front.assert_gone(1)

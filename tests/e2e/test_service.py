"""What a service manager gets from the daemon (sd_notify(3))."""

import os
import re
import select
import signal
import socket
import subprocess
import threading
import time

from harness import GATT2MQTT, SLACK
from world import AVAILABILITY, METER, peripherals, settings


class Manager:
    def __init__(self, directory):
        self.path = os.path.join(directory, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.heard = []

    def forget(self):
        self.heard = []
        self.socket.setblocking(False)
        try:
            while True:
                self.socket.recv(4096)
        except BlockingIOError:
            pass

    def hear(self, what, timeout):
        self.socket.settimeout(timeout)
        while not [each for each in self.heard if what(each)]:
            self.heard += self.socket.recv(4096).decode().splitlines()


    def collect(self, seconds):
        """What comes in that time, with the moment of each."""
        end, found = time.monotonic() + seconds, []
        while (left := end - time.monotonic()) > 0:
            if select.select([self.socket], [], [], left)[0]:
                found += [(time.monotonic(), line)
                          for line in self.socket.recv(4096).decode().splitlines()]
        return found


def test_it_is_ready_at_once_says_how_it_is_and_that_it_stops(house):
    manager = Manager(house.dir)
    house.simulate(peripherals())
    broker = house.broker()
    broker.kill()
    gateway = house.gateway(settings(broker.port), env={"NOTIFY_SOCKET": manager.path})
    # ready without broker or peripherals: it waits for them itself
    manager.hear(lambda line: line == "READY=1", 5 * SLACK)
    manager.hear(lambda line: line.startswith("STATUS=2 of 2 "), 15 * SLACK)
    assert gateway.stop() < 2 * SLACK
    manager.hear(lambda line: line == "STOPPING=1", 1)
    manager.socket.close()


def test_a_service_manager_that_does_not_read_blocks_nothing(house):
    manager = Manager(house.dir)
    simulator = house.simulate(peripherals())
    broker = house.broker()
    recorder = house.recorder(broker.port)
    gateway = house.gateway(settings(broker.port), env={"NOTIFY_SOCKET": manager.path})
    recorder.wait(AVAILABILITY, "online", timeout=15 * SLACK)
    while True:  # its queue is full
        stuffing = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        stuffing.setblocking(False)
        try:
            stuffing.sendto(b"X=1", manager.path)
        except BlockingIOError:
            break
    for _ in range(3):  # each changes the status
        since = recorder.mark()
        simulator.ask(f"drop {METER}")
        recorder.wait(AVAILABILITY, "online", since, 15 * SLACK)
    # what has not changed since is heard as soon as there is room
    manager.hear(lambda line: line.startswith("STATUS=2 of 2 devices online; broker connected"),
                 5 * SLACK)
    assert gateway.stop() < 2 * SLACK


def test_a_reload_is_told_from_its_beginning_to_its_end(house):
    manager = Manager(house.dir)
    house.simulate(peripherals())
    broker = house.broker()
    config = settings(broker.port)
    gateway = house.gateway(config, env={"NOTIFY_SOCKET": manager.path})
    manager.hear(lambda line: line.startswith("STATUS=2 of 2 "), 15 * SLACK)

    def reload():
        manager.forget()
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        gateway.process.send(signal.SIGHUP)
        manager.hear(lambda line: line == "READY=1", 5 * SLACK)
        after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert manager.heard[0] == "RELOADING=1"
        told = re.fullmatch("MONOTONIC_USEC=([0-9]+)", manager.heard[1])
        assert before <= int(told.group(1)) <= after

    reload()
    del config["devices"]["other"]
    gateway.write(config)
    reload()
    manager.hear(lambda line: line.startswith("STATUS=1 of 1 "), 5 * SLACK)
    gateway.write({"devices": 1})  # a file that is refused is over, too
    reload()


class Log:
    """A pipe that standard error goes to, which somebody reads, or not."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "log")
        os.mkfifo(self.path)
        self.end = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        self.text = b""
        self.read()

    def read(self):
        self.stopped = False
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while not self.stopped:
            if select.select([self.end], [], [], 0.05)[0]:
                self.text += os.read(self.end, 65536)

    def fill(self):
        """From now on nobody reads, and there is no room for more."""
        self.stopped = True
        self.thread.join()
        try:
            while True:
                os.write(self.end, b"x" * 512)
        except BlockingIOError:
            pass


def test_the_watchdog_is_fed_by_a_busy_loop_and_not_by_one_that_hangs(house):
    period = 0.6 * SLACK
    manager = Manager(house.dir)
    simulator = house.simulate(peripherals())
    broker = house.broker()
    recorder = house.recorder(broker.port)
    log = Log(house.dir)
    gateway = house.gateway(
        settings(broker.port), before=["/bin/sh", "-c", 'exec "$@" 2>"$0"', log.path],
        env={"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": str(int(period * 1e6))})

    def fed(lines):
        return [at for at, line in lines if line == "WATCHDOG=1"]

    try:
        recorder.wait(AVAILABILITY, "online", timeout=15 * SLACK)
    except AssertionError:
        print(log.text.decode())
        raise
    simulator.ask(f"notify {METER} stream 6000 2000")
    manager.forget()  # what nobody read so far has kept the gateway from nothing
    times = fed(manager.collect(3))
    assert len(times) >= 3 / period
    assert max(b - a for a, b in zip(times, times[1:])) < period

    # the log is full and nobody reads it: the loop waits for ever in the middle of a reload
    log.fill()
    manager.forget()
    gateway.process.send(signal.SIGHUP)
    manager.hear(lambda line: line == "RELOADING=1", 5 * SLACK)
    assert not fed(manager.collect(4 * period))

    log.read()
    manager.hear(lambda line: line == "WATCHDOG=1", 5 * SLACK)
    gateway.stop()


def test_whoever_asks_for_its_health_is_told_and_a_gateway_that_hangs_is_found_out(house):
    house.simulate(peripherals())
    broker = house.broker()
    recorder = house.recorder(broker.port)
    gateway = house.gateway(settings(broker.port), env={"RUNTIME_DIRECTORY": house.dir})

    def health():
        return subprocess.run([*GATT2MQTT, "health"], env=dict(os.environ, RUNTIME_DIRECTORY=house.dir),
                              text=True, capture_output=True, timeout=30 * SLACK)

    recorder.wait(AVAILABILITY, "online", timeout=15 * SLACK)
    answer = health()
    assert answer.returncode == 0, answer.stderr
    assert re.fullmatch(r"[12] of 2 devices online.*; broker connected.*\n", answer.stdout)

    gateway.process.send(signal.SIGSTOP)
    answer = health()
    assert (answer.returncode, answer.stdout) == (1, "")
    assert "does not answer within 3 s" in answer.stderr
    gateway.process.send(signal.SIGCONT)
    assert health().returncode == 0

    gateway.kill()
    assert health().returncode == 1  # its socket is still there
    gateway.start()  # and not in the way
    recorder.wait(AVAILABILITY, "online", recorder.mark(), 15 * SLACK)
    assert health().returncode == 0
    gateway.stop()
    answer = health()
    assert answer.returncode == 1
    assert "no gateway answers at " + os.path.join(house.dir, "health") in answer.stderr

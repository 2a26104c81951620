"""What a service manager gets from the daemon (sd_notify(3))."""

import os
import socket

from harness import SLACK
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

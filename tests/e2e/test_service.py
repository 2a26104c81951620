"""What a service manager gets from the daemon (sd_notify(3))."""

import os
import socket

from harness import SLACK
from world import peripherals, settings


class Manager:
    def __init__(self, directory):
        self.path = os.path.join(directory, "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.heard = []

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

"""The files of config/: what users start from."""

import os
import re

from harness import ROOT, SLACK
from world import topic

CONFIG = os.path.join(ROOT, "config")


def sample(name):
    with open(os.path.join(CONFIG, name)) as text:
        return text.read()


def with_broker(config, port):
    """The same with the broker on that port."""
    config, n = re.subn(r"(?m)^(\s+url:\s*)\S+", rf"\1mqtt://127.0.0.1:{port}", config)
    assert n == 1
    return config


def samples():
    """The names of those that are for the gateway."""
    return sorted(name for name in os.listdir(CONFIG)
                  if name.endswith(".yaml") and re.search(r"(?m)^devices:", sample(name)))


def entries(config, section):
    """Of `devices` or `profiles`: the text of each entry, without its comments, by its id."""
    config = re.sub(r"(?m)(^|[ \t]+)#( .*)?$", "", config)
    found = re.search(rf"(?m)^{section}:\n((?: .*\n|\n)*)", config)
    lines = [line for line in found[1].split("\n") if line] if found else []
    result = {}
    for line in lines:
        if not line.startswith("   "):
            current = result.setdefault(line.strip(" :"), [])
        current.append(line)
    return {name: "\n".join(text) for name, text in result.items()}


def gateway_id(config):
    return re.search(r"(?m)^gateway:\n(?:  #.*\n)*  id: (\S+)", config)[1]


def _device(name):
    """Matches an entry of `devices`, the last section of each sample."""
    return rf"(?m)^  {name}:(?:\n(?!  \S).*)*\n"


def without_device(config, name):
    config, n = re.subn(_device(name), "", config)
    assert n == 1
    return config


def rename_device(config, old, new):
    config, n = re.subn(rf"(?m)^  {old}:$", f"  {new}:", config)
    assert n == 1
    return config


def change_characteristic(config, device, name, line):
    """The same with one more line in what the device says of the characteristic."""
    entry = re.search(_device(device), config)
    text, n = re.subn(rf"(?m)^      {name}:$", rf"\g<0>\n        {line}", entry[0])
    assert n == 1
    return config[:entry.start()] + text + config[entry.end():]


class Sample:
    """A sample's gateway with the peripherals that go with it."""

    def __init__(self, house, config, device, world=None):
        self.device = device
        broker = house.broker()
        self.port = broker.port
        self.recorder = house.recorder(self.port)
        self.simulator = house.simulate(world or sample("simulated-house.yaml"))
        self.gateway = house.gateway(with_broker(sample(config), broker.port))
        # the strongest of those that fit within 10 s is taken
        self.recorder.wait(self.topic("status/availability"), "online",
                           timeout=10 + 10 * SLACK)

    def topic(self, rest):
        return topic(self.device, rest)

    def wait(self, rest, **more):
        return self.recorder.wait(self.topic(rest), timeout=10 * SLACK, **more).json

    def ask(self, name, payload):
        """Runs a named command, or sets a characteristic; gives the answer."""
        since = self.recorder.mark()
        rest = name if "/" in name else f"command/{name}"
        self.recorder.publish(self.topic(rest), payload)
        result = re.sub(r"/set$", "", rest) + "/result"
        return self.recorder.wait(self.topic(result), since=since, timeout=30 * SLACK).json

    def writes(self, characteristic):
        return self.simulator.ask(f"writes {self.device} {characteristic}").split()

"""What the pages tell people to type: each mosquitto_pub, mosquitto_sub and mosquitto_rr of README.md,
docker/README.md and deploy/*.md does what it says, with the first configuration of README.md."""

import importlib.machinery
import importlib.util
import json
import os
import re
import shlex
import subprocess

from harness import ROOT, SLACK, variant
from samples import with_broker

pytestmark = variant

loader = importlib.machinery.SourceFileLoader("docs", os.path.join(ROOT, "tests/docs/check"))
docs = importlib.util.module_from_spec(importlib.util.spec_from_loader("docs", loader))
loader.exec_module(docs)

SERVICE = "7a3d0001-6a1c-4a52-9e0f-3d6f0b6c2f10"
POWER = "7a3d0002-6a1c-4a52-9e0f-3d6f0b6c2f10"


def peripheral(number, name, **more):
    return dict(more, address=f"C0:FF:EE:00:00:0{number}", name=name, services=[
        {"uuid": SERVICE, "characteristics": [
            {"id": "power", "uuid": POWER, "value": "01",
             "properties": ["read", "write", "notify"]}]}])


WORLD = {"peripherals": {"lamp": peripheral(1, "Lamp"),
                         "lock": peripheral(2, "Lock", pairing={"passkey": 4711})}}
MORE = """  lock:
    match: { address: "C0:FF:EE:00:00:02" }
    characteristics: { power: { uuid: 7a3d0002-6a1c-4a52-9e0f-3d6f0b6c2f10, subscribe: true } }
commands: { allow: [read, write, scan, inspect, clear_cache, pair, unpair] }
"""


def commands():
    """The words of each, for the broker of the test, and in less time than people have."""
    for page in docs.PAGES:
        for _, command, comment in docs.commands_of(page):
            if command.startswith("mosquitto_") and not docs.NEEDS.search(comment):
                yield shlex.split(command)


def words_for(command, port):
    command = list(command)
    if "-h" in command:
        del command[command.index("-h"):command.index("-h") + 2]
    if "-W" in command:
        del command[command.index("-W"):command.index("-W") + 2]
    if command[0] == "mosquitto_sub" and "-C" not in command:
        command += ["-C", "1"]
    if command[0] != "mosquitto_pub":
        command += ["-W", str(int(15 * SLACK))]
    return [word.replace('"duration":"10s"', '"duration":"1s"') for word in command] + \
        ["-h", "127.0.0.1", "-p", str(port)]


def test_what_the_pages_tell_to_type_works(house):
    broker = house.broker()
    recorder = house.recorder(broker.port)
    house.simulate(WORLD)
    first = next(text for _, _, text in docs.blocks("README.md", "yaml"))
    assert "{ name: Lamp }" in first  # by its address no time is spent on choosing
    first = first.replace("{ name: Lamp }", '{ address: "C0:FF:EE:00:00:01" }')
    gateway = house.gateway(with_broker(first, broker.port) + "\n" + MORE)
    for device in ("lamp", "lock"):
        recorder.wait(f"gatt2mqtt/{device}/status/availability", lambda m: m.text == "online",
                      timeout=20 * SLACK)

    listed = [words_for(command, broker.port) for command in commands()]
    for program in ("mosquitto_sub", "mosquitto_pub", "mosquitto_rr"):
        assert any(command[0] == program for command in listed)
    health = [command for command in listed if any("health" in word for word in command)]
    watching = [(command, subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
                for command in listed if command[0] == "mosquitto_sub" and command not in health]
    try:
        for command in listed:
            if command[0] == "mosquitto_sub":
                continue
            since = recorder.mark()
            done = subprocess.run(command, capture_output=True, text=True, timeout=30 * SLACK, check=False)
            assert done.returncode == 0, f"{command}: {done.stderr}"
            request = re.search(r"(gatt2mqtt/bridge/home)/request/(\w+)", " ".join(command))
            if not request:
                assert "-r" in command and "-n" in command  # it clears what is retained
                continue
            answer = json.loads(done.stdout) if command[0] == "mosquitto_rr" else \
                recorder.wait(f"{request[1]}/response/{request[2]}", since=since, timeout=20 * SLACK).json
            assert answer["status"] == "ok", f"{command}: {answer}"
        for command, process in watching:
            assert process.communicate(timeout=30 * SLACK)[0], command
    finally:
        for _, process in watching:
            process.kill()
            process.wait()
    # that one comes each minute only: that its topic is right must do
    for command in health:
        assert "gatt2mqtt/bridge/+/health" in command
    assert gateway.process.running()

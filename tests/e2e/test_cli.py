"""The command line: exit statuses, and where output goes."""

import json
import os
import subprocess

import pytest

from harness import GATT2MQTT, ROOT, SLACK, variant
from world import peripherals, settings

pytestmark = variant


def run(*arguments, **env):
    environment = {key: value for key, value in os.environ.items() if key != "GATT2MQTT_CONFIG"}
    return subprocess.run([*GATT2MQTT, *arguments], env=dict(environment, **env), text=True,
                          capture_output=True, timeout=30 * SLACK)


def test_help_and_version_succeed_on_stdout():
    help_text = run("--help")
    assert (help_text.returncode, help_text.stderr) == (0, "")
    assert "Usage: gatt2mqtt" in help_text.stdout
    version = run("--version")
    assert version.returncode == 0
    assert version.stdout.startswith("gatt2mqtt 0.")


@pytest.mark.parametrize("arguments", [[], ["fly"], ["--nonsense"], ["--log-level", "loud", "run"],
                                       ["simulate"], ["check", "more"], ["run", "more"]])
def test_wrong_usage_is_64(arguments):
    assert run(*arguments).returncode == 64


@pytest.mark.parametrize("command", ["run", "check"])
def test_a_bad_configuration_is_78_with_its_place(tmp_path, command):
    bad = tmp_path / "bad.yaml"
    bad.write_text("mqtt:\n  url: mqtt://127.0.0.1\n  pasword: x\n")
    result = run("-c", str(bad), command)
    assert result.returncode == 78
    assert f"{bad}:3:3: error: " in result.stdout + result.stderr
    assert "did you mean" in result.stdout + result.stderr


def test_a_missing_configuration_is_78_and_named(tmp_path):
    missing = str(tmp_path / "missing.yaml")
    result = run("-c", missing, "check")
    assert result.returncode == 78
    assert missing in result.stdout + result.stderr


def test_the_configuration_may_come_from_the_environment(tmp_path):
    good = tmp_path / "good.yaml"
    good.write_text(json.dumps(settings(1883)))
    result = run("check", GATT2MQTT_CONFIG=str(good))
    assert result.returncode == 0, result.stderr
    assert "gatt2mqtt/meter/stream" in result.stdout


def test_the_simulator_never_plays_on_the_systems_bus(tmp_path):
    world = tmp_path / "world.yaml"
    world.write_text(json.dumps(peripherals()))
    environment = {key: value for key, value in os.environ.items()
                   if key != "DBUS_SYSTEM_BUS_ADDRESS"}
    result = subprocess.run([*GATT2MQTT, "simulate", str(world)], env=environment, text=True,
                            capture_output=True, timeout=30 * SLACK)
    assert result.returncode not in (0, None)
    assert "DBUS_SYSTEM_BUS_ADDRESS" in result.stderr


def test_the_simulator_refuses_where_bluez_lives(house):
    house.simulate(peripherals())
    path = os.path.join(house.dir, "world.yaml")
    result = run("simulate", path, DBUS_SYSTEM_BUS_ADDRESS=house.bus.address)
    assert result.returncode not in (0, None)
    assert "org.bluez" in result.stderr

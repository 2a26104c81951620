"""The images, as docker/compose.demo.yaml runs them: each program the first process of a container of
its own, with a read-only root and no rights (see `container`), on what tests/docker/build has built
into IMAGES. Needs root."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "e2e"))

from harness import Broker, Process, Recorder, wait_until  # noqa: E402

IMAGES = os.environ["IMAGES"]
BUS = "DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/demo-bus/socket"


def buildah(*arguments):
    with open(f"{IMAGES}/driver") as driver:
        driver = driver.read().strip()
    return subprocess.run(
        ["buildah", "--storage-driver", driver, "--root", f"{IMAGES}/storage",
         "--runroot", f"{IMAGES}/run", *arguments],
        env=dict(os.environ, BUILDAH_ISOLATION="chroot"), check=True,
        capture_output=True, text=True).stdout.strip()


class Image:
    def __init__(self, name):
        inspected = json.loads(buildah("inspect", "--type", "image", name))
        self.config = inspected["Docker"]["config"]
        self.container = buildah("from", "--pull-never", name)
        self.root = buildah("mount", self.container)

    def close(self):
        buildah("rm", self.container)


class Container:
    """What the image runs by itself, with other arguments where they are given."""

    def __init__(self, name, image, directory, arguments=None, binds=(), environment=(),
                 entrypoint=None):
        self.image, self.environment = image, list(environment)
        entrypoint = entrypoint or image.config["Entrypoint"]
        arguments = image.config["Cmd"] if arguments is None else arguments
        self.process = Process(
            name, directory,
            ["unshare", "--mount", "--pid", "--fork", "--kill-child",
             os.path.join(HERE, "container"), image.root, *binds, "--", *self.env(), *entrypoint,
             *arguments])

    def env(self):
        return ["env", "-i", *self.image.config["Env"], *self.environment]

    @property
    def pid(self):
        """Of the first process in the container, from outside."""
        unshare = self.process.popen.pid
        with open(f"/proc/{unshare}/task/{unshare}/children") as children:
            return int(children.read().split()[0])

    def execute(self, *words):
        return subprocess.run(
            ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--root", "--wd", "setpriv",
             "--reuid=10001", "--regid=10001", "--clear-groups", *self.env(), *words],
            capture_output=True, text=True, timeout=30)

    def healthy(self):
        kind, *words = self.image.config["Healthcheck"]["Test"]
        assert kind == "CMD"
        return self.execute(*words)

    def stop(self):
        """As `docker stop` does it; the exit status, and the seconds it took."""
        began = time.monotonic()
        os.kill(self.pid, 15)
        return self.process.wait(10), time.monotonic() - began

    def close(self):
        if self.process.running():
            self.stop()


@pytest.fixture(scope="module")
def images():
    found = {name: Image(f"localhost/gatt2mqtt-{name}") for name in ("gateway", "demo")}
    yield found
    for image in found.values():
        image.close()


@pytest.fixture
def demo(images):
    """The demo's bus and peripherals, a broker, and a way to run the gateway beside them."""
    class Demo:
        directory = tempfile.mkdtemp(prefix="g2m-")
        bus = os.path.join(directory, "bus")
        started = []

        def start(self, *arguments, **options):
            container = Container(*arguments, **options)
            self.started.append(container)
            return container

        def gateway(self, config, image="gateway"):
            path = os.path.join(self.directory, "config.yaml")
            with open(path, "w") as out:
                out.write(config)
            os.chmod(path, 0o644)
            return self.start("gateway", images[image], self.directory,
                              ["-c", "/etc/gatt2mqtt/config.yaml", "run"],
                              binds=[f"{self.bus}:/run/dbus", f"{path}:/etc/gatt2mqtt/config.yaml"],
                              environment=["DBUS_SYSTEM_BUS_ADDRESS=unix:path=/run/dbus/socket"])

    self = Demo()
    os.chmod(self.directory, 0o755)
    os.mkdir(self.bus)
    os.chown(self.bus, 10001, 10001)
    broker = Broker(self.directory)
    recorder = Recorder(broker.port)
    self.broker, self.recorder = broker, recorder
    binds = [f"{self.bus}:/run/demo-bus"]
    try:
        self.start("bus", images["demo"], self.directory, binds=binds, entrypoint=["dbus-daemon"],
                   arguments=["--config-file=/etc/gatt2mqtt/demo-bus.conf", "--nofork", "--nopidfile"])
        wait_until(lambda: os.path.exists(os.path.join(self.bus, "socket")), 10, "the demo's bus")
        self.start("peripherals", images["demo"], self.directory,
                   ["simulate", "/etc/gatt2mqtt/simulated-house.yaml"], binds=binds, environment=[BUS])
        yield self
    finally:
        for container in reversed(self.started):
            container.close()
        recorder.close()
        broker.close()
        for container in self.started:
            print(f"---- {container.process.name}\n{container.process.text()}")
        shutil.rmtree(self.directory, ignore_errors=True)


def configuration(port):
    with open(os.path.join(ROOT, "config", "try.yaml")) as source:
        return re.sub(r"127\.0\.0\.1:1883", f"127.0.0.1:{port}", source.read())


def size(root):
    """In bytes, but for apt's own lists, which come and go."""
    return int(subprocess.run(
        ["du", "-sxb", "--exclude=./var/lib/apt", "--exclude=./var/cache", "."], cwd=root,
        check=True, capture_output=True, text=True).stdout.split()[0])


def test_the_gateway_serves_from_a_read_only_root_without_rights_and_leaves_in_time(demo):
    gateway = demo.gateway(configuration(demo.broker.port))
    demo.recorder.wait("gatt2mqtt/strap/heart_rate", timeout=20)
    demo.recorder.wait("gatt2mqtt/thermometer/status/availability", "online", timeout=20)
    demo.recorder.wait("gatt2mqtt/lamp/status/availability", "online", timeout=20)
    demo.recorder.publish("gatt2mqtt/lamp/power/set", "ON")
    demo.recorder.wait("gatt2mqtt/lamp/power/result", lambda each: each.json["status"] == "ok")

    answer = gateway.healthy()
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("3 of 3 devices online; broker connected")

    with open(f"/proc/{gateway.pid}/status") as status:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)
    assert status["Uid"].split() == ["10001"] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    assert status["NSpid"].split()[-1] == "1"
    refused = gateway.execute("touch", "/etc/gatt2mqtt/x")
    assert "Read-only file system" in refused.stderr

    code, seconds = gateway.stop()
    assert code == 0
    assert seconds < 2
    demo.recorder.wait("gatt2mqtt/bridge/try/status", "offline")
    assert not gateway.process.running()


def test_a_gateway_that_hangs_fails_its_health_check_and_one_without_a_broker_does_not(demo):
    gateway = demo.gateway(configuration(demo.broker.port))
    demo.recorder.wait("gatt2mqtt/lamp/status/availability", "online", timeout=20)
    demo.broker.kill()
    answer = wait_until(lambda: (each := gateway.healthy()).stdout.count("broker not connected")
                        and each, 10, "the broker missed")
    assert answer.returncode == 0
    os.kill(gateway.pid, 19)  # SIGSTOP
    answer = gateway.healthy()
    assert answer.returncode == 1
    assert "does not answer" in answer.stderr
    os.kill(gateway.pid, 18)
    assert gateway.healthy().returncode == 0
    code, seconds = gateway.stop()
    assert code == 0
    assert seconds < 2


def test_what_is_wrong_with_its_file_is_said_and_ends_it_with_78(demo):
    gateway = demo.gateway("mqtt: { url: mqtt://127.0.0.1, pasword: x }\n")
    assert gateway.process.wait(10) == 78
    assert "did you mean 'password'" in gateway.process.text()


def test_the_image_says_what_it_is_and_is_small(images):
    config = images["gateway"].config
    labels = config["Labels"]
    with open(os.path.join(ROOT, "CMakeLists.txt")) as source:
        version = re.search(r"project\(gatt2mqtt VERSION ([0-9.]+)", source.read()).group(1)
    assert labels["org.opencontainers.image.version"] == version
    assert labels["org.opencontainers.image.licenses"] == "MIT"
    assert labels["org.opencontainers.image.title"] == "gatt2mqtt"
    assert (config["User"], config["Cmd"]) == ("10001:10001", ["run"])
    said = subprocess.run(["chroot", images["gateway"].root, "gatt2mqtt", "--version"], check=True,
                          capture_output=True, text=True).stdout
    assert said == f"gatt2mqtt {version} (tested)\n"

    beyond = size(images["gateway"].root) - size(os.path.join(os.path.dirname(IMAGES), "debian-base"))
    print(f"the image has {beyond / 1e6:.1f} MB beyond its base")
    assert beyond < 10e6
    # nothing that builds or downloads came along
    for name in ("gcc", "cmake", "ninja", "git", "curl"):
        assert not os.path.exists(os.path.join(images["gateway"].root, "usr", "bin", name))


@pytest.mark.parametrize("name", ["compose.yaml", "compose.demo.yaml"])
def test_the_compose_files_are_valid(name):
    subprocess.run(["docker-compose", "-f", os.path.join(ROOT, "docker", name), "config", "-q"],
                   check=True)


def test_the_demo_is_told_apart_from_the_gateway_in_all_commands():
    """Without a project's name both would be `docker`, as their folder, and end each other."""
    projects = {"compose.yaml": set(), "compose.demo.yaml": set()}
    for name in os.listdir(os.path.join(ROOT, "docker")):
        with open(os.path.join(ROOT, "docker", name)) as source:
            text = source.read()
        found = re.findall(r"docker compose -p (\S+) -f docker/(\S+)", text)
        assert len(found) == text.count("docker compose"), name
        for project, file in found:
            projects[file].add(project)
    assert projects == {"compose.yaml": {"gatt2mqtt"}, "compose.demo.yaml": {"gatt2mqtt-demo"}}


def test_the_compose_files_run_containers_as_they_are_tested_here():
    import yaml
    with open(os.path.join(ROOT, "docker", "compose.yaml")) as source:
        service = yaml.safe_load(source)["services"]["gatt2mqtt"]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["tmpfs"] == ["/run/gatt2mqtt:uid=10001,gid=10001,mode=0700,size=64k"]
    assert "/run/dbus:/run/dbus:ro" in service["volumes"]
    assert "privileged" not in service

"""A broker that wants to know who comes, and to be known itself."""

import os
import subprocess

import pytest

from harness import SLACK, wait_until
from world import AVAILABILITY, METER, STATUS, peripherals, settings, topic

PASSWORD = "correct horse"


def secret(house, text):
    path = os.path.join(house.dir, "password")
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as out:
        out.write(text + "\n")
    return f"!file {path}"


def password_file(house):
    path = os.path.join(house.dir, "accounts")
    with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as out:
        out.write(f"gateway:{PASSWORD}\n")
    subprocess.run(["mosquitto_passwd", "-U", path], check=True, capture_output=True)
    return f"allow_anonymous false\npassword_file {path}"


def certificates(house, name):
    """A CA, and a server's certificate for that name."""

    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=house.dir)

    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-days", "2", "-subj", "/CN=test CA", "-keyout", "ca.key",
            "-out", "ca.pem")
    openssl("req", *key, "-subj", "/CN=broker", "-keyout", "server.key", "-out", "server.csr")
    with open(os.path.join(house.dir, "names"), "w") as out:
        out.write(f"subjectAltName={name}\n")
    openssl("x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", "server.pem")
    return [os.path.join(house.dir, each) for each in ("ca.pem", "server.pem", "server.key")]


def test_user_and_password_open_the_door(house):
    broker = house.broker(access=password_file(house))
    recorder = house.recorder(broker.port, login=("gateway", PASSWORD))
    house.simulate(peripherals())
    gateway = house.gateway(settings(broker.port, username="gateway",
                                     password=secret(house, PASSWORD)))
    recorder.wait(AVAILABILITY, "online", timeout=15 * SLACK)
    assert PASSWORD not in gateway.process.text()
    assert PASSWORD.encode() not in b"".join(each.payload for each in recorder.messages)


def test_a_wrong_password_is_told_and_kept_secret(house):
    broker = house.broker(access=password_file(house))
    simulator = house.simulate(peripherals())
    gateway = house.gateway(settings(broker.port, username="gateway",
                                     password=secret(house, "wrong battery")))
    wait_until(lambda: "password" in gateway.process.text(), 15 * SLACK, "the log says why")
    wait_until(lambda: simulator.connected(METER), 15 * SLACK, "Bluetooth goes on")
    assert gateway.stop() < 2 * SLACK
    assert "wrong battery" not in gateway.process.text()


@pytest.mark.parametrize("name, trusted", [("IP:127.0.0.1", True), ("DNS:elsewhere.example", False)],
                         ids=["right-name", "wrong-name"])
def test_tls_goes_to_the_broker_that_was_meant_and_no_other(house, name, trusted):
    ca, certificate, key = certificates(house, name)
    broker = house.broker(access=f"allow_anonymous true\ncertfile {certificate}\nkeyfile {key}")
    house.simulate(peripherals())
    config = settings(broker.port, tls={"ca": ca})
    config["mqtt"]["url"] = f"mqtts://127.0.0.1:{broker.port}"
    gateway = house.gateway(config)
    if trusted:
        recorder = house.recorder(broker.port, ca=ca)
        recorder.wait(STATUS, "online", timeout=15 * SLACK)
        recorder.wait(AVAILABILITY, "online", timeout=15 * SLACK)
        recorder.publish(topic(METER, "setting", "set"), "5")
        recorder.wait(topic(METER, "setting", "result"), lambda m: m.json["status"] == "ok")
    else:
        wait_until(lambda: "certificate" in gateway.process.text(), 15 * SLACK,
                   "the log says why")
        log = os.path.join(house.dir, "mosquitto.messages")
        assert "gatt2mqtt-e2e" not in open(log).read()

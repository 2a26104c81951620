"""What consumers see, on a real Bluetooth stack: a played Home Assistant with a thermometer that
indicates, a heart-rate strap, batteries and a switch; requests over MQTT 5.

The same Home Assistant as in tests/e2e: it takes the documents by its rules, renders the states with
Jinja and sends what the entities send."""
import json
import os
import signal
import sys
import time

import lab

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(lab.LAB)), "tests/e2e"))
import ha_rules  # noqa: E402  (from there)
from ha_rules import UNAVAILABLE, UNKNOWN  # noqa: E402
from harness import Recorder  # noqa: E402

BASE = "gatt2mqtt"
DEVICES = ("strap", "thermometer", "plug")
DOCUMENTS = {f"homeassistant/device/gatt2mqtt_{name}/config"
             for name in DEVICES + ("bridge_lab",)}


def topic(*levels):
    return "/".join((BASE,) + levels)


class Home:
    """The gateway, and a Home Assistant at the same broker."""

    def __init__(self, s):
        self.s = s
        s.start_bluetooth(f"{lab.LAB}/guest/consumers-world.yaml")
        self.radio = s.radio
        self.mqtt = lab.Broker(s)
        self.ha = ha_rules.HomeAssistant(self, self.mqtt.PORT)
        self.begin = time.time()
        self.gateway = s.start("gateway", lab.share(f"{lab.BUILD}/src/gatt2mqtt", 0o755), "-c",
                               lab.share(f"{lab.LAB}/guest/consumers.yaml", 0o644), "--log-level",
                               "debug" if lab.DEBUG else "info", "run", user="nobody")

    @staticmethod
    def recorder(port):
        return Recorder(port)

    def shows(self, promise, entity, state, limit=20):
        """The entity gets to show that: a state, or what a function accepts."""
        unique_id = f"{BASE}_{entity}"
        fits = state if callable(state) else lambda shown: shown == state
        seen = []

        def look():
            seen[:] = [self.ha.state(unique_id)] if unique_id in self.ha.entities() else []
            return seen and fits(seen[0])

        try:
            lab.wait_for(promise, look, limit, pause=0.05)
        except lab.Failed:
            self.s.check(promise, False, f"{unique_id} shows {seen}")
        self.s.check(promise, True, f"{unique_id} shows {seen[0]}")

    def request(self, operation, **request):
        """What mosquitto_rr gets as the answer over MQTT 5, where it asked for it."""
        answer = lab.run("mosquitto_rr", "-V", "5", "-p", str(self.mqtt.PORT), "-q", "1", "-W", "10",
                         "-t", topic("bridge", "lab", "request", operation),
                         "-e", topic("bridge", "lab", "response", "rr"),
                         "-m", json.dumps(request))
        return json.loads(answer)


def announced(h):
    lab.wait_for("all documents", lambda: set(h.ha.documents()) == DOCUMENTS, 60, pause=0.1)
    wrong = ha_rules.check_all(h.ha.documents())
    h.s.check("Home Assistant takes each document whole", wrong == [], "; ".join(wrong))
    for device in DEVICES:
        online = h.mqtt.wait(topic(device, "status", "availability"), h.begin, 60,
                             lambda m: m.payload == "online").time
        h.s.check(f"{device} is online", True, f"{online - h.begin:.2f} s after the gateway's start")


def states(h):
    h.shows("the strap's heart rate is notified", "strap_heart_rate_heart_rate_measurement_value",
            lambda shown: isinstance(shown, float) and 60 <= shown <= 140)
    first = h.ha.state(f"{BASE}_strap_heart_rate_heart_rate_measurement_value")
    h.shows("and goes on", "strap_heart_rate_heart_rate_measurement_value",
            lambda shown: isinstance(shown, float) and shown != first)
    h.shows("with contact", "strap_heart_rate_sensor_contact", "on")
    h.shows("its place is read", "strap_location_value", "chest")
    h.shows("and its battery", "strap_battery_value", 95.0)
    h.radio.ask("value strap battery 5e")
    h.shows("which is notified", "strap_battery_value", 94.0)
    h.shows("the thermometer's battery is read", "thermometer_battery_value", 50.0)
    h.shows("and where it measures", "thermometer_place_value", "body")
    for value, shown in (("04720100ff02", 37.0), ("046e0100ff03", 36.6), ("00ffff7f00", UNKNOWN),
                         ("01da0300ff", 37.0)):
        h.radio.ask(f"value thermometer body {value}")
        h.shows(f"its temperature {value} is indicated",
                "thermometer_body_temperature_measurement_value", shown)
    for device in DEVICES:
        h.shows(f"{device}: connected", f"{device}_status_connectivity", "on")


def switch(h):
    h.shows("the switch is off", "plug_relay_on", "off")
    for state, value in (("on", "01"), ("off", "00"), ("on", "01")):
        h.radio.ask("writes plug relay")
        h.ha.send(f"{BASE}_plug_relay_on", state)
        h.shows(f"switched {state} by Home Assistant", "plug_relay_on", state)
        h.s.check("the peripheral sees a write request",
                  h.radio.ask("writes plug relay") == f"request:{value}")


def requests(h):
    for level in (77, 78):
        h.radio.ask(f"value thermometer battery {level:02x}")
        answer = h.request("read", id=f"r{level}", device="thermometer", characteristic="battery")
        h.s.check("mosquitto_rr reads over MQTT 5",
                  (answer["id"], answer["status"], answer["data"]["value"]) == (
                      f"r{level}", "ok", level),
                  json.dumps(answer))
    answer = h.request("write", id=7, device="plug", characteristic="relay", value={"on": False})
    h.s.check("and writes", (answer["id"], answer["status"]) == (7, "ok"), json.dumps(answer))
    h.s.check("the peripheral has it", h.radio.ask("get plug relay") == "00")
    h.shows("and Home Assistant sees it", "plug_relay_on", "off")
    answer = h.request("write", device="strap", characteristic="battery", value=1)
    h.s.check("what cannot be written is refused", answer["error"]["code"] == "read_only",
              json.dumps(answer))


def operations(h):
    """Requests about a peer as a whole."""
    h.request("pause", device="thermometer")
    answer = h.request("scan", duration="4s")
    heard = {each["address"]: each for each in answer["data"]["heard"]}
    h.s.check("a scan hears who is let go",
              heard.get("00:1A:7D:00:04:01", {}).get("name") == "Lab thermometer"
              and heard["00:1A:7D:00:04:01"]["device"] == "thermometer"
              and "0x1809" in heard["00:1A:7D:00:04:01"]["services"], json.dumps(answer))
    h.request("resume", device="thermometer")
    h.shows("which comes back", "thermometer_status_connectivity", "on", 30)
    answer = h.request("inspect", device="plug", values=True)
    found = [each for service in answer["data"]["services"]
             for each in service["characteristics"] if each.get("characteristic") == "relay"]
    h.s.check("its tree and values are shown", answer["data"]["complete"] and len(found) == 1
              and found[0]["value"] == "00" and found[0]["properties"] == ["read", "write"],
              json.dumps(answer))
    answer = h.request("pair", device="plug")
    h.s.check("a peer that cannot pair says so", answer["error"]["code"] == "pair_failed",
              json.dumps(answer))
    h.shows("and is there all the same", "plug_status_connectivity", "on", 30)
    answer = h.request("clear_cache", device="plug")
    h.s.check("BlueZ forgets a peer", answer.get("data") == {"cleared": True}, json.dumps(answer))
    h.shows("and finds it anew", "plug_status_connectivity", "on", 30)


def kept(h):
    """What somebody sees who comes now, and what only those who were there saw."""
    late = Recorder(h.mqtt.PORT)
    late.publish("lab/late", "1")
    late.wait("lab/late")
    retained = {m.topic for m in late.messages if m.retain}
    lasting = DOCUMENTS | {topic(d, "status", s) for d in DEVICES for s in ("availability", "link")}
    lasting |= {topic("strap", "battery"), topic("thermometer", "body"), topic("plug", "relay")}
    h.s.check("states, availability and documents are retained", lasting <= retained,
              " ".join(sorted(lasting - retained)))
    wrong = {t for t in retained if t.rsplit("/", 1)[1] in ("result", "set", "get", "event", "health")
             or "/response/" in t or "/request/" in t}
    h.s.check("answers, commands and events are not", not wrong, " ".join(sorted(wrong)))
    low = {m.topic for m in late.messages if m.retain and m.topic in lasting and m.qos != 1}
    h.s.check("with QoS 1", not low, " ".join(sorted(low)))
    results = h.ha.recorder.on(topic("plug", "relay", "result"))
    h.s.check("a result has QoS 1 and is not retained",
              results and all(m.qos == 1 and not m.retain for m in results), f"{len(results)}")
    late.close()


def birth(h):
    since = h.ha.recorder.mark()
    h.ha.born()
    recorder = h.ha.recorder
    # the relay may be read just now, since the plug has just come back: the document is the answer
    recorder.wait("homeassistant/device/gatt2mqtt_plug/config", None, since, 20)
    seen = [m.topic for m in recorder.messages[since:]]
    document = seen.index("homeassistant/device/gatt2mqtt_plug/config")
    recorder.wait(topic("plug", "relay"), None, since + document, 20)
    h.s.check("its birth is answered: availability, documents, states",
              topic("plug", "status", "availability") in seen[:document])


def away(h):
    h.radio.ask("vanish thermometer")
    h.shows("who is away is unavailable", "thermometer_battery_value", UNAVAILABLE)
    h.shows("and not connected", "thermometer_status_connectivity", "off")
    h.shows("and says why", "thermometer_status_why",
            lambda shown: shown not in (UNAVAILABLE, UNKNOWN))
    h.shows("the others stay", "plug_relay_on", "off")
    h.radio.ask("appear thermometer")
    h.shows("back again", "thermometer_battery_value", 78.0, 30)
    h.radio.ask("value thermometer body 04700100ff02")
    h.shows("and indicating", "thermometer_body_temperature_measurement_value", 36.8)


def shutdown(h):
    h.s.check("SIGTERM ends the gateway with status 0", h.s.kill(h.gateway, signal.SIGTERM) == 0)
    for entity in ("strap_battery_value", "thermometer_status_connectivity", "plug_relay_on"):
        h.shows("then all is unavailable", entity, UNAVAILABLE)


def play(s):
    h = Home(s)
    announced(h)
    states(h)
    switch(h)
    requests(h)
    operations(h)
    kept(h)
    birth(h)
    away(h)
    shutdown(h)


if __name__ == "__main__":
    lab.main("consumers", play)

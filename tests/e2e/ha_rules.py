"""What Home Assistant accepts as MQTT discovery, and how it uses it.

check() gives what Home Assistant would refuse, or only accept in part, in a document of a device or
of an entity. The rules are those of its mqtt integration: required keys, keys that each platform
knows, identifiers, units per device class. HomeAssistant plays its part: it subscribes, keeps what
is announced, renders the templates with Jinja, and sends commands as its entities do.
"""

import json
import re

import jinja2

import ha_platforms

TOPIC = re.compile(r"(?P<prefix>.+)/(?P<platform>\w+)/(?P<id>[a-zA-Z0-9_-]+)/config")
MIGRATE = {"migrate_discovery": True}
DOCUMENT_KEYS = {"device", "origin", "components", "availability", "availability_mode", "qos",
                 "command_topic", "state_topic", "encoding", "payload_available",
                 "payload_not_available"}
DEVICE_KEYS = {"identifiers", "connections", "configuration_url", "hw_version", "manufacturer",
               "model", "model_id", "name", "serial_number", "suggested_area", "sw_version",
               "via_device"}
ORIGIN_KEYS = {"name", "sw_version", "support_url"}
AVAILABILITY_KEYS = {"topic", "payload_available", "payload_not_available", "value_template"}
SHARED_KEYS = {"platform", "unique_id", "name", "icon", "entity_category", "enabled_by_default",
               "default_entity_id", "availability", "availability_mode", "qos", "encoding",
               "json_attributes_topic", "json_attributes_template", "device_class"}
STATE_KEYS = {"state_topic", "value_template"}
COMMAND_KEYS = {"command_topic", "command_template", "optimistic", "retain"}
PLATFORMS = {  # what it knows besides, and what it needs
    "sensor": (STATE_KEYS | {"unit_of_measurement", "state_class", "options", "expire_after",
                             "suggested_display_precision", "force_update"}, {"state_topic"}),
    "binary_sensor": (STATE_KEYS | {"payload_on", "payload_off", "expire_after", "off_delay"},
                      {"state_topic"}),
    "switch": (STATE_KEYS | COMMAND_KEYS | {"payload_on", "payload_off", "state_on", "state_off"},
               {"command_topic"}),
    "number": (STATE_KEYS | COMMAND_KEYS | {"min", "max", "step", "mode", "unit_of_measurement"},
               {"command_topic"}),
    "select": (STATE_KEYS | COMMAND_KEYS | {"options"}, {"command_topic", "options"}),
    "text": (STATE_KEYS | COMMAND_KEYS | {"min", "max", "mode", "pattern"}, {"command_topic"}),
    "button": (COMMAND_KEYS | {"payload_press"}, {"command_topic"}),
    "event": (STATE_KEYS | {"event_types"}, {"state_topic", "event_types"}),
    **ha_platforms.PLATFORMS,
}

DENSITY = {"μg/m³"}
UNITS = {
    "temperature": {"°C", "°F", "K"}, "humidity": {"%"}, "moisture": {"%"}, "battery": {"%"},
    "pressure": {"Pa", "hPa", "kPa", "mbar", "cbar", "bar", "mmHg", "inHg", "inH₂O", "psi"},
    "atmospheric_pressure": {"Pa", "hPa", "kPa", "mbar", "cbar", "bar", "mmHg", "inHg", "psi"},
    "illuminance": {"lx"}, "signal_strength": {"dB", "dBm"}, "voltage": {"V", "mV", "μV", "kV"},
    "current": {"A", "mA", "μA"}, "power": {"W", "mW", "kW"},
    "energy": {"Wh", "kWh", "MWh", "J", "kJ", "MJ"},
    "weight": {"g", "kg", "mg", "μg", "oz", "lb", "st"},
    "distance": {"mm", "cm", "m", "km", "in", "ft", "yd", "mi"},
    "duration": {"μs", "ms", "s", "min", "h", "d"},
    "speed": {"m/s", "km/h", "mm/s", "ft/s", "mph", "kn"},
    "carbon_dioxide": {"ppm"}, "pm1": DENSITY, "pm25": DENSITY, "pm4": DENSITY, "pm10": DENSITY,
    "volatile_organic_compounds": {"μg/m³", "mg/m³"},
    "volatile_organic_compounds_parts": {"ppb", "ppm"},
    "conductivity": {"μS/cm", "mS/cm", "S/cm"}, "frequency": {"Hz", "kHz", "MHz", "GHz"},
    "wind_direction": {"°"}, "irradiance": {"W/m²"}, "sound_pressure": {"dB", "dBA"},
    "blood_glucose_concentration": {"mg/dL", "mmol/L"},
    "aqi": {None}, "ph": {None}, "enum": {None}, "timestamp": {None}, "date": {None},
}
TOTALS = {"energy", "gas", "water", "volume"}
BINARY_CLASSES = {"battery", "connectivity", "door", "light", "lock", "moisture", "motion",
                  "occupancy", "opening", "plug", "power", "presence", "problem", "running", "tamper",
                  "window"}
EVENT_CLASSES = {"button", "doorbell", "motion"}


def check_class(name, component):
    device_class, unit = component.get("device_class"), component.get("unit_of_measurement")
    platform = component["platform"]
    if platform == "binary_sensor" and device_class not in BINARY_CLASSES | {None}:
        yield f"{name}: unknown device class {device_class}"
    if platform == "event" and device_class not in EVENT_CLASSES | {None}:
        yield f"{name}: unknown device class {device_class}"
    if platform not in ("sensor", "number"):
        return
    if unit and "\u00b5" in unit:
        yield f"{name}: the micro sign in {unit}"
    if device_class and device_class not in UNITS:
        yield f"{name}: unknown device class {device_class}"
    elif device_class and unit not in UNITS[device_class]:
        yield f"{name}: the unit {unit} with {device_class}"
    state_class = component.get("state_class")
    if state_class not in (None, "measurement", "total", "total_increasing", "measurement_angle"):
        yield f"{name}: unknown state class {state_class}"
    if state_class == "measurement" and device_class in TOTALS:
        yield f"{name}: {device_class} is no measurement"
    if state_class == "measurement_angle" and unit != "°":
        yield f"{name}: an angle in {unit}"


def check_options(name, component):
    platform, options = component["platform"], component.get("options")
    is_enum = platform == "sensor" and component.get("device_class") == "enum"
    if platform == "sensor" and (options is not None) != is_enum:
        yield f"{name}: options belong to the device class enum, and it to them"
    if is_enum and ("state_class" in component or "unit_of_measurement" in component):
        yield f"{name}: an enum with a unit or a state class"
    if options is not None and (not options or len(set(options)) != len(options)):
        yield f"{name}: bad options {options}"
    if platform == "number":
        least, most = component.get("min", 1), component.get("max", 100)
        if least >= most or component.get("step", 1) < 0.001:
            yield f"{name}: from {least} to {most} by {component.get('step')}"


def check_component(name, component, device_name):
    platform = component.get("platform")
    if platform not in PLATFORMS:
        yield f"{name}: unknown platform {platform}"
        return
    known, needed = PLATFORMS[platform]
    if not component.get("unique_id"):
        yield f"{name}: no unique_id"
    for key in component.keys() - known - SHARED_KEYS:
        yield f"{name}: {platform} has no key {key}"
    for key in needed - component.keys():
        yield f"{name}: {key} is missing"
    category = component.get("entity_category")
    if category not in (None, "config", "diagnostic") or (
            category == "config" and platform in ("sensor", "binary_sensor", "event")):
        yield f"{name}: entity_category {category}"
    if ":" not in component.get("icon", ":"):
        yield f"{name}: icon {component['icon']}"
    own = component.get("name")
    if own is not None and own.lower().startswith(device_name.lower()):
        yield f"{name}: the name {own} repeats that of the device"
    for key in [each for each in component if each.endswith("_topic")]:
        if not component[key] or re.search(r"[+#\0]", component[key]):
            yield f"{name}: bad topic {component[key]}"
    for key in [each for each in component if each.endswith("_template")]:
        try:
            jinja2.Environment().parse(component[key])
        except jinja2.TemplateError as error:
            yield f"{name}: {key}: {error}"
    yield from check_class(name, component)
    yield from check_options(name, component)
    yield from ha_platforms.check(name, component)


def check_device(device):
    if not device.get("identifiers") and not device.get("connections"):
        yield "a device without identity"
    for key in device.keys() - DEVICE_KEYS:
        yield f"device has no key {key}"
    for each in device.get("connections", []):
        if len(each) != 2 or each[0] not in ("bluetooth", "mac"):
            yield f"bad connection {each}"
        elif not re.fullmatch(r"[0-9A-F]{2}(:[0-9A-F]{2}){5}", each[1]):
            yield f"bad address {each[1]}"


def as_device(topic, document):
    """The document of an entity in the form of that of a device, with this one component."""
    match = TOPIC.fullmatch(topic)
    if not match or match["platform"] == "device":
        return document
    component = {key: each for key, each in document.items() if key not in ("device", "origin")}
    component["platform"] = match["platform"]
    return {"device": document.get("device", {}), "origin": document.get("origin", {}),
            "components": {match["id"]: component}}


def check(topic, document):
    """What is wrong with the document on that topic: a list of sentences."""
    wrong = []
    if not TOPIC.fullmatch(topic):
        wrong.append(f"illegal discovery topic {topic}")
    elif not topic.split("/")[-3] == "device" and document.get("unique_id") != topic.split("/")[-2]:
        wrong.append(f"{topic} is not that of {document.get('unique_id')}")
    document = as_device(topic, document)
    device, origin = document.get("device", {}), document.get("origin", {})
    for key in document.keys() - DOCUMENT_KEYS:
        wrong.append(f"the document has no key {key}")
    wrong += check_device(device)
    if not origin.get("name") or origin.keys() - ORIGIN_KEYS:
        wrong.append(f"bad origin {origin}")
    components = document.get("components", {})
    if not components:
        wrong.append("no components")
    for each in [document, *components.values()]:
        for entry in each.get("availability", []):
            if "topic" not in entry or entry.keys() - AVAILABILITY_KEYS:
                wrong.append(f"bad availability {entry}")
    for name, component in components.items():
        wrong += check_component(name, component, device.get("name", "\0"))
    return wrong


def check_all(documents):
    """The same for all documents {topic: document} of a Home Assistant."""
    wrong, unique, identifiers = [], set(), set()
    for topic, document in documents.items():
        wrong += [f"{topic}: {each}" for each in check(topic, document)]
        document = as_device(topic, document)
        identifiers |= set(document["device"].get("identifiers", []))
        for name, component in document["components"].items():
            key = (component["platform"], component["unique_id"])
            if key in unique:
                wrong.append(f"{topic}: {name}: unique_id {key} twice")
            unique.add(key)
    for topic, document in documents.items():
        via = document["device"].get("via_device")
        if via is not None and via not in identifiers:
            wrong.append(f"{topic}: via_device {via} is nobody")
    return wrong


UNAVAILABLE = "unavailable"
UNKNOWN = "unknown"


class HomeAssistant:
    """Plays Home Assistant at a broker: entities and their states by unique_id.

    It was there all the time. So a document that lacks an entity that it had before removes nothing,
    one with an entity that it knows from another topic is refused, and what was let go for
    migration and has not come back is a ghost.
    """

    def __init__(self, house, port, prefix="homeassistant"):
        self.prefix = prefix
        self.recorder = house.recorder(port)
        self.jinja = jinja2.Environment(undefined=jinja2.StrictUndefined)  # it warns of these
        self.taken = 0  # messages of the recorder
        self.known = {}  # by platform and unique_id
        self.let_go, self.removed, self.refused = set(), [], []

    def born(self):
        self.recorder.publish(f"{self.prefix}/status", "online")

    def latest(self, topic):
        messages = self.recorder.on(topic)
        return messages[-1] if messages else None

    def documents(self):
        found = {}
        with self.recorder.changed:
            topics = set(self.recorder.places)
        for topic in sorted(topics):
            match = TOPIC.fullmatch(topic)
            if match and match["prefix"] == self.prefix and self.latest(topic).payload:
                found[topic] = self.latest(topic).json
        return found

    def take(self, topic, payload):
        """One message on the topic of a document."""
        known = {key: each for key, each in self.known.items() if each["topic"] == topic}
        document = as_device(topic, json.loads(payload)) if payload else {}
        if document.get("components", {}).keys() and MIGRATE.items() <= list(
                document["components"].values())[0].items():
            document = MIGRATE
        for key in known:
            if payload and document != MIGRATE:
                continue
            (self.let_go.add if payload else self.removed.append)(key)
            del self.known[key]
        for name, component in document.get("components", {}).items():
            for key in [key for key, each in known.items() if each["name"] == name]:
                if component == {"platform": key[0]}:
                    self.removed.append(key)
                    del self.known[key]
            if "unique_id" not in component:
                continue
            key = (component["platform"], component["unique_id"])
            if self.known.get(key, {"topic": topic})["topic"] != topic:
                self.refused.append((topic, key))
                continue
            self.known[key] = {"topic": topic, "name": name, "entity": (document, component)}
            self.let_go.discard(key)

    def catch_up(self):
        """Takes in what has arrived since the last time."""
        with self.recorder.changed:
            messages = self.recorder.messages[self.taken:]
            self.taken += len(messages)
        for each in messages:
            match = TOPIC.fullmatch(each.topic)
            if match and match["prefix"] == self.prefix:
                self.take(each.topic, each.payload)

    def entities(self):
        """(document, component) of each unique_id"""
        self.catch_up()
        return {key[1]: each["entity"] for key, each in self.known.items()}

    def is_available(self, document, component):
        owner = component if "availability" in component else document
        states = [(self.latest(each["topic"]), each.get("payload_available", "online"))
                  for each in owner.get("availability", [])]
        assert owner.get("availability_mode", "all") == "all"
        return all(message and message.text == wanted for message, wanted in states)

    def render(self, template, message, state=UNKNOWN):
        """A value template with a payload, as text."""
        values = {"value": message.text, "this": {"state": state}}
        try:
            values["value_json"] = json.loads(message.text)
        except ValueError:
            pass
        return self.jinja.from_string(template).render(values)

    def state(self, unique_id):
        """What the entity would show."""
        return self.state_of(*self.entities()[unique_id])

    def state_of(self, document, component):
        if not self.is_available(document, component):
            return UNAVAILABLE
        state = UNKNOWN
        for message in self.recorder.on(component["state_topic"]):
            if not message.payload:
                continue
            text = self.render(component.get("value_template", "{{ value }}"), message, state)
            if text or (component["platform"] == "sensor" and not self.is_number(component)):
                state = self.shown(component, text)
        return state

    @staticmethod
    def is_number(component):
        """Whether Home Assistant expects a number of the sensor; else nothing is a text, too."""
        keys = component.keys() & {"unit_of_measurement", "state_class", "suggested_display_precision"}
        return bool(keys) or component.get("device_class", "enum") != "enum"

    def shown(self, component, text):
        """The state of a rendered payload; fails where Home Assistant logs an error."""
        platform = component["platform"]
        if platform == "event":
            event = json.loads(text)
            assert event["event_type"] in component["event_types"]
            return event["event_type"]
        if text == "None":
            return UNKNOWN
        if platform in ("binary_sensor", "switch"):
            for word in ("on", "off"):
                payload = component.get(f"payload_{word}", word.upper())
                if text == component.get(f"state_{word}", payload):
                    return word
            raise AssertionError(f"{component['unique_id']} takes no {text}")
        if "options" in component:
            assert text in component["options"], f"{component['unique_id']} has no {text}"
        if platform == "number" or (platform == "sensor" and self.is_number(component)):
            return float(text)
        assert len(text) <= 255
        return text

    def attributes(self, unique_id):
        """What an entity of several parts shows."""
        document, component = self.entities()[unique_id]
        if not self.is_available(document, component):
            return {"state": UNAVAILABLE}
        return ha_platforms.show(component, self.latest)

    def text(self, unique_id):
        """What any entity shows, in a line: `on brightness=255`; an action that has no state: `-`"""
        document, component = self.entities()[unique_id]
        if component["platform"] not in ha_platforms.PLATFORMS:
            state = self.state_of(document, component) if "state_topic" in component else "-"
            return f"{state:g}" if isinstance(state, float) else str(state)
        shown = self.attributes(unique_id)
        parts = [f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
                 for key, value in shown.items() if key != "state" and value is not None]
        return " ".join([shown.get("state") or UNKNOWN, *parts])

    def act(self, unique_id, action, **data):
        """What such an entity sends for an action."""
        for topic, payload in ha_platforms.act(self.entities()[unique_id][1], action, **data):
            self.recorder.publish(topic, payload)

    def send(self, unique_id, value=None):
        """What the entity sends when somebody uses it."""
        _, component = self.entities()[unique_id]
        platform = component["platform"]
        if platform == "button":
            payload = component.get("payload_press", "PRESS")
        elif platform == "switch":
            payload = component.get(f"payload_{value}", value.upper())
        else:
            if platform == "number":
                assert component["min"] <= value <= component["max"]
                value = int(value) if float(value).is_integer() else value
            elif platform == "select":
                assert value in component["options"]
            template = component.get("command_template", "{{ value }}")
            payload = self.jinja.from_string(template).render({"value": value})
        self.recorder.publish(component["command_topic"], payload)

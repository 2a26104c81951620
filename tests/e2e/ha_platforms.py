"""Home Assistant's platforms of several parts: what it refuses, what they show, what they send.

After its mqtt integration (light/schema_basic.py, cover.py, lock.py, climate.py, fan.py, ...). show()
gives the attributes of an entity out of the messages on its topics; act() the messages of one action.
"""

import json
import math

import jinja2

NONE = "None"
COMMAND = {"command_topic", "optimistic", "retain"}


def topic_of(*names):
    """The keys of parts that are read and set in the usual way."""
    return {f"{name}_{rest}" for name in names
            for rest in ("command_topic", "command_template", "state_topic")}


PLATFORMS = {  # what it knows, and what it needs
    "light": (COMMAND | topic_of("brightness", "color_temp", "rgb", "rgbw", "rgbww", "hs", "xy",
                                 "effect") |
              {f"{each}_value_template" for each in ("state", "brightness", "color_temp", "rgb", "rgbw",
                                                     "rgbww", "hs", "xy", "effect")} |
              {"schema", "state_topic", "payload_on", "payload_off", "on_command_type",
               "brightness_scale", "min_mireds", "max_mireds", "effect_list"}, {"command_topic"}),
    "cover": (COMMAND | {"state_topic", "value_template", "payload_open", "payload_close",
                         "payload_stop", "position_topic", "position_template", "set_position_topic",
                         "set_position_template", "position_open", "position_closed", "state_open",
                         "state_closed", "state_opening", "state_closing", "state_stopped",
                         "tilt_command_topic", "tilt_command_template", "tilt_status_topic",
                         "tilt_status_template", "tilt_min", "tilt_max"}, set()),
    "valve": (COMMAND | {"command_template", "state_topic", "value_template", "payload_open",
                         "payload_close", "payload_stop", "reports_position"}, set()),
    "lock": (COMMAND | {"command_template", "state_topic", "value_template", "payload_lock",
                        "payload_unlock", "payload_open", "state_locked", "state_unlocked"},
             {"command_topic"}),
    "fan": (COMMAND | topic_of("percentage", "preset_mode", "oscillation", "direction") |
            {"command_template", "state_topic", "state_value_template", "payload_on", "payload_off",
             "percentage_value_template", "speed_range_min", "speed_range_max",
             "preset_mode_value_template", "preset_modes", "oscillation_value_template",
             "direction_value_template"}, {"command_topic"}),
    "climate": (topic_of("temperature", "temperature_high", "temperature_low", "mode", "fan_mode",
                         "swing_mode", "preset_mode", "target_humidity") |
                {f"{each}_state_template" for each in ("temperature", "temperature_high",
                                                       "temperature_low", "mode", "fan_mode",
                                                       "swing_mode", "target_humidity")} |
                {"power_command_topic", "power_command_template", "preset_mode_value_template",
                 "current_temperature_topic", "current_temperature_template", "action_topic",
                 "action_template", "current_humidity_topic", "current_humidity_template", "modes",
                 "fan_modes", "swing_modes", "preset_modes", "min_temp", "max_temp", "temp_step",
                 "precision", "temperature_unit", "min_humidity", "max_humidity"}, set()),
    "water_heater": (topic_of("temperature", "mode") |
                     {"temperature_state_template", "mode_state_template", "power_command_topic",
                      "power_command_template", "current_temperature_topic",
                      "current_temperature_template", "modes", "min_temp", "max_temp", "precision",
                      "temperature_unit"}, set()),
    "humidifier": (COMMAND | topic_of("target_humidity", "mode") |
                   {"command_template", "state_topic", "state_value_template", "payload_on",
                    "payload_off", "target_humidity_state_template", "mode_state_template", "modes",
                    "current_humidity_topic", "current_humidity_template", "action_topic",
                    "action_template", "min_humidity", "max_humidity"},
                   {"command_topic", "target_humidity_command_topic"}),
    "siren": (COMMAND | {"command_template", "state_topic", "state_value_template", "payload_on",
                         "payload_off", "state_on", "state_off", "support_duration",
                         "support_volume_set", "available_tones"}, {"command_topic"}),
    "update": ({"state_topic", "value_template", "latest_version_topic", "latest_version_template",
                "command_topic", "payload_install"}, set()),
}

HVAC_MODES = {"off", "heat", "cool", "heat_cool", "auto", "dry", "fan_only"}
HVAC_ACTIONS = {"off", "preheating", "heating", "cooling", "drying", "fan", "idle", "defrosting"}
HEATER_MODES = {"off", "eco", "electric", "gas", "heat_pump", "high_demand", "performance"}


TEMPLATES = ("position", "set_position", "tilt_command", "tilt_status", "latest_version",
             "current_temperature", "current_humidity", "action")


def check_parts(name, component):
    """Each template belongs to a topic; payloads are texts."""
    for each in TEMPLATES:
        if f"{each}_template" in component and f"{each}_topic" not in component:
            yield f"{name}: {each}_template without {each}_topic"
    for key in component.keys() & {"payload_on", "payload_off", "payload_lock", "payload_unlock",
                                   "payload_install"}:
        if not isinstance(component[key], str) or not component[key]:
            yield f"{name}: {key} is no text"


def check_light(name, component):
    scale = component.get("brightness_scale", 255)
    if scale != int(scale) or scale < 1:
        yield f"{name}: brightness_scale {scale}"
    if component.get("on_command_type", "last") not in ("last", "first", "brightness"):
        yield f"{name}: on_command_type {component['on_command_type']}"
    if component.get("min_mireds", 153) >= component.get("max_mireds", 500):
        yield f"{name}: no range of mireds"
    if "effect_command_topic" in component and not component.get("effect_list"):
        yield f"{name}: effects without a list"


def check_cover(name, component):
    for needs, needed in (("set_position_topic", "position_topic"), ("value_template", "state_topic"),
                          ("position_template", "position_topic"),
                          ("set_position_template", "set_position_topic"),
                          ("tilt_command_template", "tilt_command_topic"),
                          ("tilt_status_template", "tilt_status_topic")):
        if needs in component and needed not in component:
            yield f"{name}: {needs} without {needed}"
    for key in ("position_open", "position_closed"):
        if not isinstance(component.get(key, 0), int):
            yield f"{name}: {key} is no integer"


def check_fan(name, component):
    least, most = component.get("speed_range_min", 1), component.get("speed_range_max", 100)
    if least < 1 or least >= most or int(least) != least or int(most) != most:
        yield f"{name}: speeds from {least} to {most}"
    if ("preset_modes" in component) != ("preset_mode_command_topic" in component):
        yield f"{name}: preset_modes and preset_mode_command_topic belong together"


def check_climate(name, component):
    if not set(component.get("modes", [])) <= HVAC_MODES:
        yield f"{name}: modes {component['modes']}"
    if "none" in component.get("preset_modes", []):
        yield f"{name}: none is no preset mode"
    for modes, topic in (("preset_modes", "preset_mode_command_topic"),):
        if (modes in component) != (topic in component):
            yield f"{name}: {modes} and {topic} belong together"
    if component.get("min_temp", 7) >= component.get("max_temp", 35):
        yield f"{name}: no range of temperatures"
    if component.get("precision", 0.1) not in (0.1, 0.5, 1):
        yield f"{name}: precision {component['precision']}"
    if component.get("temperature_unit", "C") not in ("C", "F"):
        yield f"{name}: temperature_unit {component['temperature_unit']}"
    if "target_humidity_state_topic" in component and "target_humidity_command_topic" not in component:
        yield f"{name}: a target humidity that cannot be set"


def check_water_heater(name, component):
    if not set(component.get("modes", [])) <= HEATER_MODES:
        yield f"{name}: modes {component['modes']}"


def check_humidifier(name, component):
    if ("modes" in component) != ("mode_command_topic" in component):
        yield f"{name}: modes and mode_command_topic belong together"
    if not 0 <= component.get("min_humidity", 0) < component.get("max_humidity", 100) <= 100:
        yield f"{name}: no range of humidity"


CHECKS = {"light": check_light, "cover": check_cover, "fan": check_fan, "climate": check_climate,
          "water_heater": check_water_heater, "humidifier": check_humidifier}


def check(name, component):
    yield from check_parts(name, component)
    yield from CHECKS.get(component["platform"], lambda *_: ())(name, component)


# ---- what is shown ----

class Shown:
    """The attributes of one component; `latest(topic)` gives the last message there, or None."""

    def __init__(self, component, latest):
        self.component, self.latest = component, latest
        self.jinja = jinja2.Environment(undefined=jinja2.StrictUndefined)

    def text(self, topic, template):
        """A rendered state; None where nothing is known or the message says nothing about it."""
        message = self.latest(self.component[topic]) if topic in self.component else None
        if not message or not message.payload:
            return None
        values = {"value": message.text}
        try:
            values["value_json"] = json.loads(message.text)
        except ValueError:
            pass
        return self.jinja.from_string(self.component.get(template, "{{ value }}")).render(values) or None

    def number(self, topic, template, takes_none=True):
        text = self.text(topic, template)
        return None if text is None or (takes_none and text == NONE) else float(text)

    def among(self, topic, template, words):
        """A word; fails where Home Assistant would log an error."""
        text = self.text(topic, template)
        if text in (None, NONE):
            return None
        assert text in words, f"{topic} shows {text}, not one of {words}"
        return text

    def on_off(self, topic, template):
        component = self.component
        words = {component.get("state_on", component.get("payload_on", "ON")): "on",
                 component.get("state_off", component.get("payload_off", "OFF")): "off"}
        text = self.among(topic, template, words)
        return words.get(text)

    def light(self):
        component = self.component
        shown = {"state": self.on_off("state_topic", "state_value_template")}
        level = self.number("brightness_state_topic", "brightness_value_template", False)
        if level:
            shown["brightness"] = min(round(level / component.get("brightness_scale", 255) * 255), 255)
        mireds = self.number("color_temp_state_topic", "color_temp_value_template", False)
        if mireds:
            shown["color_temp"] = int(mireds)
        for color in ("rgb", "rgbw", "rgbww", "hs", "xy"):
            text = self.text(f"{color}_state_topic", f"{color}_value_template")
            if text:
                shown[color] = tuple(float(each) if color in ("hs", "xy") else int(each)
                                     for each in text.split(","))
        shown["effect"] = self.text("effect_state_topic", "effect_value_template")
        return shown

    def cover(self):
        component = self.component
        words = {component.get(f"state_{each}", each): each
                 for each in ("open", "closed", "opening", "closing", "stopped")}
        shown = {"state": words.get(self.among("state_topic", "value_template", words))}
        for name, topic, template, closed, opened in (
                ("position", "position_topic", "position_template", "position_closed",
                 "position_open"),
                ("tilt", "tilt_status_topic", "tilt_status_template", "tilt_min", "tilt_max")):
            at = self.number(topic, template, False)
            if at is not None:
                low, high = component.get(closed, 0), component.get(opened, 100)
                shown[name] = round((at - low) / (high - low) * 100)
        if shown.get("position") is not None and shown["state"] in (None, "stopped"):
            shown["state"] = "closed" if shown["position"] == 0 else "open"
        return shown

    valve = cover

    def lock(self):
        words = {self.component.get(f"state_{each}", each.upper()): each
                 for each in ("locked", "unlocked", "locking", "unlocking", "jammed")}
        return {"state": words.get(self.among("state_topic", "value_template", words))}

    def fan(self):
        component = self.component
        shown = {"state": self.on_off("state_topic", "state_value_template")}
        text = self.text("percentage_state_topic", "percentage_value_template")
        if text not in (None, NONE):
            low = component.get("speed_range_min", 1) - 1
            shown["percentage"] = int((int(text) - low) * 100 /
                                      (component.get("speed_range_max", 100) - low))
            assert 0 <= shown["percentage"] <= 100
        shown["preset_mode"] = self.among("preset_mode_state_topic", "preset_mode_value_template",
                                          component.get("preset_modes", []))
        shown["oscillating"] = self.among("oscillation_state_topic", "oscillation_value_template",
                                          ["oscillate_on", "oscillate_off"])
        shown["direction"] = self.among("direction_state_topic", "direction_value_template",
                                        ["forward", "reverse"])
        return shown

    def climate(self, modes=HVAC_MODES):
        component = self.component
        shown = {name: self.number(f"{topic}_topic", f"{topic}_template") for name, topic in (
            ("temperature", "temperature_state"), ("current_temperature", "current_temperature"),
            ("current_humidity", "current_humidity"), ("humidity", "target_humidity_state"))}
        shown["state"] = self.among("mode_state_topic", "mode_state_template",
                                    set(component.get("modes", modes)))
        shown["action"] = self.among("action_topic", "action_template", HVAC_ACTIONS)
        for mode, template in (("fan_mode", "state"), ("swing_mode", "state"), ("preset_mode", "value")):
            shown[mode] = self.among(f"{mode}_state_topic", f"{mode}_{template}_template",
                                     component.get(f"{mode}s", []))
        return shown

    def water_heater(self):
        return self.climate(HEATER_MODES)

    def humidifier(self):
        return {"state": self.on_off("state_topic", "state_value_template"),
                "humidity": self.number("target_humidity_state_topic",
                                        "target_humidity_state_template"),
                "current_humidity": self.number("current_humidity_topic",
                                                "current_humidity_template"),
                "mode": self.among("mode_state_topic", "mode_state_template",
                                   self.component.get("modes", []))}

    def siren(self):
        return {"state": self.on_off("state_topic", "state_value_template")}

    def update(self):
        return {"installed": self.text("state_topic", "value_template"),
                "latest": self.text("latest_version_topic", "latest_version_template")}


def show(component, latest):
    return getattr(Shown(component, latest), component["platform"])()


# ---- what is sent ----

def act(component, action, **data):
    """The (topic, payload)s that Home Assistant sends for an action such as turn_on."""
    jinja, sent = jinja2.Environment(undefined=jinja2.StrictUndefined), []

    def send(part, value, **more):
        prefix = f"{part}_" if part else ""
        topic = component[f"{prefix}command_topic" if part != "set_position" else "set_position_topic"]
        template = component.get(f"{prefix}command_template" if part != "set_position"
                                 else "set_position_template", "{{ value }}")
        sent.append((topic, jinja.from_string(template).render(value=value, **more)))

    def press(name):
        payload = component.get(f"payload_{name}", name.upper())
        assert payload is not None, f"{component['unique_id']} cannot {name}"
        send("", payload)

    def turn_on_light():
        kind = component.get("on_command_type", "last")
        level = data.get("brightness", 255 if kind == "brightness" else None)
        for color in ("rgb", "rgbw", "rgbww", "hs", "xy"):
            if color in data:
                names = {"rgb": ("red", "green", "blue"), "hs": ("hue", "sat"), "xy": ("x", "y"),
                         "rgbw": ("red", "green", "blue", "white"),
                         "rgbww": ("red", "green", "blue", "cold_white", "warm_white")}[color]
                send(color, ",".join(map(str, data[color])), **dict(zip(names, data[color])))
        if level is not None:
            scale = component.get("brightness_scale", 255)
            send("brightness", max(1, min(round(level / 255 * scale), scale)))
        if "color_temp" in data:
            send("color_temp", data["color_temp"])
        if "effect" in data:
            assert data["effect"] in component["effect_list"]
            send("effect", data["effect"])
        if kind == "last":
            press("on")

    def set_position(closed, opened, part):
        low, high = component.get(closed, 0), component.get(opened, 100)
        send(part, round(low + (high - low) * data["position"] / 100))

    def set_percentage():
        low = component.get("speed_range_min", 1) - 1
        share = (component.get("speed_range_max", 100) - low) * data["percentage"] / 100
        send("percentage", math.ceil(share + low))

    def turn_on_fan():
        press("on")
        if "percentage" in data:
            set_percentage()

    def set_mode(part, modes):
        assert data["mode"] in component[modes]
        send(part, data["mode"])

    {
        "turn_on": turn_on_light if component["platform"] == "light" else turn_on_fan,
        "turn_off": lambda: press("off"),
        "open": lambda: press("open"),
        "close": lambda: press("close"),
        "stop": lambda: press("stop"),
        "lock": lambda: press("lock"),
        "unlock": lambda: press("unlock"),
        "install": lambda: press("install"),
        "set_position": lambda: set_position("position_closed", "position_open", "set_position"),
        "set_tilt": lambda: set_position("tilt_min", "tilt_max", "tilt"),
        "set_percentage": set_percentage,
        "set_preset_mode": lambda: set_mode("preset_mode", "preset_modes"),
        "set_fan_mode": lambda: set_mode("fan_mode", "fan_modes"),
        "set_mode": lambda: set_mode("mode", "modes"),
        "oscillate": lambda: send("oscillation",
                                  "oscillate_on" if data["on"] else "oscillate_off"),
        "set_direction": lambda: send("direction", data["direction"]),
        "set_temperature": lambda: send("temperature", float(data["temperature"])),
        "set_humidity": lambda: send("target_humidity", data["humidity"]),
    }[action]()
    return sent

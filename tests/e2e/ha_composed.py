"""Lights, fans, covers, locks and thermostats as Home Assistant's mqtt integration has them: which keys
they know, what they show, and what they send for each service that somebody calls.

state() gives one line: the state, and the attributes that are known, such as `on brightness=255`.
"""

import math

from ha_rules import COMMAND_KEYS, PLATFORMS, UNAVAILABLE, UNKNOWN


def _keys(*names, state="state_topic", template="value_template"):
    return {key for name in names for key in (f"{name}_{state}", f"{name}_{template}",
                                              f"{name}_command_topic", f"{name}_command_template")}


PLATFORMS.update({
    "light": (_keys("brightness", "color_temp", "rgb", "rgbw", "rgbww", "hs", "xy", "effect")
              | {"state_topic", "state_value_template", "command_topic", "payload_on", "payload_off",
                 "brightness_scale", "min_mireds", "max_mireds", "effect_list", "on_command_type",
                 "optimistic", "retain", "schema"}, {"command_topic"}),
    "fan": (_keys("percentage", "preset_mode", "oscillation", "direction") | COMMAND_KEYS
            | {"state_topic", "state_value_template", "payload_on", "payload_off", "speed_range_min",
               "speed_range_max", "preset_modes", "payload_oscillation_on",
               "payload_oscillation_off", "payload_reset_percentage"}, {"command_topic"}),
    "cover": ({"state_topic", "value_template", "command_topic", "payload_open", "payload_close",
               "payload_stop", "position_topic", "position_template", "set_position_topic",
               "set_position_template", "position_open", "position_closed", "state_open",
               "state_closed", "state_opening", "state_closing", "state_stopped", "tilt_status_topic",
               "tilt_status_template", "tilt_command_topic", "tilt_command_template", "tilt_min",
               "tilt_max", "tilt_opened_value", "tilt_closed_value", "optimistic", "retain"}, set()),
    "lock": ({"state_topic", "value_template", "payload_lock", "payload_unlock", "payload_open",
              "state_locked", "state_unlocked", "state_locking", "state_unlocking", "state_jammed"}
             | COMMAND_KEYS, {"command_topic"}),
    "climate": (_keys("temperature", "temperature_high", "temperature_low", "mode", "fan_mode",
                      "swing_mode", "target_humidity", template="state_template")
                | _keys("preset_mode")
                | {"current_temperature_topic", "current_temperature_template",
                   "current_humidity_topic", "current_humidity_template", "action_topic",
                   "action_template", "modes", "fan_modes", "swing_modes", "preset_modes", "min_temp",
                   "max_temp", "temp_step", "precision", "temperature_unit", "min_humidity",
                   "max_humidity", "power_command_topic", "power_command_template", "payload_on",
                   "payload_off", "optimistic", "retain"}, set()),
})
COMPOSED = ("climate", "cover", "fan", "light", "lock")
LOCK_STATES = ("LOCKED", "UNLOCKED", "LOCKING", "UNLOCKING", "JAMMED")
COVER_STATES = ("open", "opening", "closed", "closing", "stopped")
MODES = {"auto", "off", "cool", "heat", "heat_cool", "dry", "fan_only"}
ACTIONS = {"off", "heating", "cooling", "drying", "idle", "fan", "preheating", "defrosting"}


class Entity:
    """One of them, in the Home Assistant that `ha` plays."""

    def __init__(self, ha, document, component):
        self.ha = ha
        self.document = document
        self.component = component

    # -- what it shows

    def rendered(self, topic, template):
        """The last thing that a topic told; None: nothing, or that it is not known."""
        result = None
        for message in self.ha.recorder.on(self.component.get(topic, "")):
            if message.payload:
                text = self.ha.render(self.component.get(template, "{{ value }}"), message)
                if text:  # nothing changes nothing
                    result = None if text == "None" else text
        return result

    def word(self, topic, template, allowed):
        text = self.rendered(topic, template)
        assert text is None or text in allowed, f"{self.component['unique_id']} takes no {text}"
        return text

    def number(self, topic, template):
        text = self.rendered(topic, template)
        return None if text is None else float(text)

    def switched(self):
        words = {self.component.get("payload_on", "ON"): "on",
                 self.component.get("payload_off", "OFF"): "off"}
        return words.get(self.word("state_topic", "state_value_template", words))

    def light(self):
        brightness = self.number("brightness_state_topic", "brightness_value_template")
        mireds = self.number("color_temp_state_topic", "color_temp_value_template")
        if brightness is not None:
            brightness = round(brightness / self.component.get("brightness_scale", 255) * 255)
        return self.switched(), {"brightness": brightness,
                                 "color_temp_kelvin": mireds and math.floor(1e6 / mireds)}

    def fan(self):
        component = self.component
        speed = self.number("percentage_state_topic", "percentage_value_template")
        least, most = component.get("speed_range_min", 1), component.get("speed_range_max", 100)
        assert speed is None or least - 1 <= speed <= most
        swings = {component.get("payload_oscillation_on", "oscillate_on"): "on",
                  component.get("payload_oscillation_off", "oscillate_off"): "off"}
        return self.switched(), {
            "percentage": speed and int((speed - least + 1) * 100 // (most - least + 1)),
            "preset_mode": self.word("preset_mode_state_topic", "preset_mode_value_template",
                                     component.get("preset_modes", [])),
            "oscillating": swings.get(self.word("oscillation_state_topic",
                                                "oscillation_value_template", swings))}

    def cover(self):
        component = self.component
        state = self.word("state_topic", "value_template", COVER_STATES)
        position = self.number("position_topic", "position_template")
        if position is not None:
            closed = component.get("position_closed", 0)
            position = round((position - closed) / (component.get("position_open", 100) - closed)
                             * 100)
        if position is not None and state in (None, "stopped"):
            state = "closed" if position == 0 else "open"
        return state, {"position": position}

    def lock(self):
        state = self.word("state_topic", "value_template", LOCK_STATES)
        return state and state.lower(), {}

    def climate(self):
        mode = self.word("mode_state_topic", "mode_state_template", self.component["modes"])
        assert set(self.component["modes"]) <= MODES
        return mode, {
            "temperature": self.number("temperature_state_topic", "temperature_state_template"),
            "current": self.number("current_temperature_topic", "current_temperature_template"),
            "action": self.word("action_topic", "action_template", ACTIONS)}

    def state(self):
        if not self.ha.is_available(self.document, self.component):
            return UNAVAILABLE
        state, attributes = getattr(self, self.component["platform"])()
        known = [f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
                 for key, value in attributes.items() if value is not None]
        return " ".join([state or UNKNOWN, *known])

    # -- what it sends

    def publish(self, what, value, template=None, **variables):
        """`what` is a topic's key without `_topic`."""
        template = self.component.get(template or f"{what}_template")
        payload = self.ha.jinja.from_string(template).render(value=value, **variables) \
            if template else str(value)
        self.ha.recorder.publish(self.component[f"{what}_topic"], payload)

    def turn_on(self, brightness=None, color_temp_kelvin=None):
        component = self.component
        how = component.get("on_command_type", "last")
        if how == "first":
            self.publish("command", component["payload_on"])
        if color_temp_kelvin is not None:
            self.publish("color_temp_command", math.floor(1e6 / color_temp_kelvin))
        if brightness is None and how == "brightness":
            brightness = 255
        if brightness is not None:
            scale = component.get("brightness_scale", 255)
            self.publish("brightness_command", max(round(brightness / 255 * scale), 1))
        if how == "last":
            self.publish("command", component["payload_on"])

    def turn_off(self):
        self.publish("command", self.component["payload_off"])

    def set_percentage(self, percentage):
        least = self.component.get("speed_range_min", 1)
        most = self.component.get("speed_range_max", 100)
        self.publish("percentage_command",
                     math.ceil((most - least + 1) * percentage / 100 + least - 1))

    def set_preset_mode(self, mode):
        assert mode in self.component["preset_modes"]
        self.publish("preset_mode_command", mode)

    def oscillate(self, swings):
        word = "on" if swings else "off"
        self.publish("oscillation_command",
                     self.component.get(f"payload_oscillation_{word}", f"oscillate_{word}"))

    def press(self, action):
        """open, close, stop a cover; lock, unlock, open a lock"""
        payload = self.component.get(f"payload_{action}", action.upper())
        assert payload is not None, f"{self.component['unique_id']} cannot {action}"
        self.publish("command", payload)

    def set_position(self, position):
        closed = self.component.get("position_closed", 0)
        opened = self.component.get("position_open", 100)
        self.publish("set_position", round(closed + (opened - closed) * position / 100),
                     position=position)

    def set_temperature(self, temperature):
        assert self.component["min_temp"] <= temperature <= self.component["max_temp"]
        self.publish("temperature_command", temperature)

    def set_mode(self, mode):
        assert mode in self.component["modes"]
        self.publish("mode_command", mode)

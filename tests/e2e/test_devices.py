"""Devices that take more than a read or a subscription, from the samples of config/ alone: a BMS that
answers requests in fragments, lines of text over the Nordic UART service, a desk that moves only
while it is told to, a valve that sleeps."""

import re

from harness import SLACK, variant
from samples import Sample

pytestmark = variant


def test_a_bms_is_asked_and_its_fragmented_answers_become_values(house):
    bms = Sample(house, "bms.yaml", "battery")
    basic = bms.wait("basic")
    ts = basic.pop("ts")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", ts)
    assert basic == {"voltage": 53.5, "current": -1.0, "remaining": 50.0, "capacity": 60.0,
                     "cycles": 5, "protection": 0, "charge": 87, "charging": True,
                     "discharging": True, "n_cells": 4, "temperatures": [22.6, 22.1]}
    cells = bms.wait("cells")
    assert [cells[f"cell_{n}"] for n in (1, 2, 3, 4)] == [3.341, 3.328, 3.327, 3.331]
    assert bms.writes("requests") == ["request:dda50300fffd77", "request:dda50400fffc77"]


def test_lines_of_a_uart_come_whole_and_go_out_whole(house):
    uart = Sample(house, "uart.yaml", "weather")
    lines = [each.json["text"] for each in
             uart.recorder.wait_count(uart.topic("line"), 4, timeout=15 * SLACK)]
    assert "T=21.6 H=48 P=1013.1 W=2.9 NNW rain since 06:40" in lines
    assert all(re.match(r"T=\d\d\.\d H=\d\d P=\d+\.\d W=\d\.\d [NW]+", each) for each in lines)
    since = uart.recorder.mark()
    assert uart.ask("send/set", "interval 5")["status"] == "ok"
    assert uart.writes("send") == ["request:" + b"interval 5\n".hex()]
    # it says OK between, not within, its lines
    uart.recorder.wait(uart.topic("line"), lambda m: m.json["text"].endswith("OK"), since,
                       5 * SLACK)


def test_a_desk_is_told_its_target_until_it_has_arrived(house):
    desk = Sample(house, "desk.yaml", "desk")
    assert desk.writes("control") == ["request:fe00"]
    assert desk.ask("move", '{"height": 980}')["status"] == "ok"
    assert abs(desk.wait("position", accept=lambda m: abs(m.json["height"] - 980) <= 2)["height"]
               - 980) <= 2
    writes = desk.writes("target")
    assert len(writes) > 3 and set(writes) == {"request:100e"}
    error = desk.ask("move", '{"height": 2000}')
    assert error["status"] == "error" and error["error"]["code"] == "invalid_value"
    assert desk.writes("target") == []


def test_a_move_of_a_desk_ends_with_stop(house):
    desk = Sample(house, "desk.yaml", "desk")
    since = desk.recorder.mark()
    desk.recorder.publish(desk.topic("command/move"), '{"height": 1270}')
    desk.recorder.wait_count(desk.topic("position"), 2, since, 10 * SLACK)
    assert desk.ask("stop", "")["status"] == "ok"
    moved = desk.recorder.wait(desk.topic("command/move/result"), since=since, timeout=5 * SLACK)
    assert moved.json["error"]["code"] == "cancelled"
    assert desk.writes("control")[-1] == "request:ff00"


def test_a_valve_is_contacted_let_go_and_woken_by_a_command(house):
    valve = Sample(house, "valve.yaml", "valve")
    state = valve.wait("state")
    assert (state["target"], state["opening"], state["boost"]) == (21.0, 32, False)
    since = valve.recorder.mark()
    valve.recorder.wait(valve.topic("status/link"), lambda m: m.json["state"] == "idle", 0,
                        15 * SLACK)
    answer = valve.ask("set_target", "18.5")
    assert answer["status"] == "ok"
    valve.wait("state", accept=lambda m: m.json["target"] == 18.5, since=since)
    assert "request:4125" in valve.writes("request")
    # asleep is not away
    assert {each.text for each in valve.recorder.on(valve.topic("status/availability"), since)} \
        <= {"online"}

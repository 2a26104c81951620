"""The broker away, slow, dead or back; and how the gateway takes its leave."""

import datetime
import signal
import socket
import time

import pytest

import harness
from harness import OUTAGE, SLACK, variant, wait_until
from world import (AVAILABILITY, GATEWAY, METER, OTHER_AVAILABILITY, STATUS, STREAM, Live,
                   peripherals, settings)

RATE = 50  # notifications a second
WINDOW = 20  # what may be unacknowledged at once
BACK = 70 * SLACK  # until a gateway that backed off has come back and delivered all


def seconds(message):
    return datetime.datetime.fromisoformat(message.json["ts"].replace("Z", "+00:00")).timestamp()


def assert_complete(messages, count):
    """All of 1..count in order, each with its own time; twice at most what was unacknowledged."""
    first, doubles = [], 0
    seen = set()
    for message in messages:
        number = message.json["value"]
        if number in seen:
            doubles += 1
        else:
            seen.add(number)
            first.append(message)
    assert [each.json["value"] for each in first] == list(range(1, count + 1))
    assert doubles <= WINDOW
    start = seconds(first[0])
    off = [seconds(each) - start - n / RATE for n, each in enumerate(first)]
    assert max(map(abs, off)) < 0.5 * SLACK, "a time is not the notification's"


def notify_through(live, outage):
    """Sends notifications from now until a few seconds after the outage; gives their number."""
    count = int(RATE * (outage + 4))
    live.simulator.ask(f"notify {METER} stream {count} {RATE}")
    live.recorder.wait_count(STREAM, RATE, timeout=10 * SLACK)
    return count


@pytest.mark.timeout(400)
@pytest.mark.parametrize("cut, protocol", [
    pytest.param("refuse", "3.1.1", marks=variant),
    ("refuse", 5),
    ("swallow", "3.1.1"),
    pytest.param("swallow", 5, marks=variant),
])
def test_a_cut_path_to_the_broker_loses_nothing(house, cut, protocol):
    live = Live(house, protocol=protocol, keepalive="5s")
    count = notify_through(live, OUTAGE)
    since = live.recorder.mark()
    getattr(live.proxy, cut)()
    time.sleep(OUTAGE)  # how long it is cut; nothing is waited for
    assert len(live.recorder.on(STREAM, since)) < RATE, "the path was not cut"
    live.proxy.heal()
    messages = live.recorder.wait_count(STREAM, count, timeout=BACK)
    live.recorder.wait(STATUS, "online", since, BACK)
    wait_until(lambda: live.simulator.ask(f"sent {METER} stream") == str(count), 10, "all is sent")
    live.recorder.wait(STREAM, lambda m: m.json["value"] == count, timeout=BACK)
    messages = live.recorder.on(STREAM)
    assert_complete(messages, count)
    assert "offline" not in [each.text for each in live.recorder.on(AVAILABILITY, since)]


@pytest.mark.timeout(400)
def test_a_broker_killed_and_restarted_gets_everything(house):
    live = Live(house)
    outage = min(OUTAGE, 10)
    count = notify_through(live, outage)
    live.broker.kill()
    live.proxy.refuse()
    time.sleep(outage)  # how long it is away; nothing is waited for
    assert live.broker.start()
    back = house.recorder(live.broker.port)
    live.proxy.heal()
    back.wait(STREAM, lambda m: m.json["value"] == count, timeout=BACK)
    assert_complete(live.recorder.on(STREAM) + back.on(STREAM), count)
    # a broker without memory is told again what it must retain
    late = house.recorder(live.broker.port)
    for topic in (STATUS, AVAILABILITY, OTHER_AVAILABILITY):
        message = late.wait(topic, timeout=5 * SLACK)
        assert (message.text, message.retain) == ("online", True)


def test_a_broker_that_starts_later_is_found(house):
    broker = house.broker()
    broker.kill()
    simulator = house.simulate(peripherals())
    house.gateway(settings(broker.port))
    wait_until(lambda: simulator.connected(METER), 15 * SLACK, "the link is up without a broker")
    assert broker.start()
    recorder = house.recorder(broker.port)
    recorder.wait(STATUS, "online", timeout=BACK)
    recorder.wait(AVAILABILITY, "online", timeout=15 * SLACK)


@pytest.mark.parametrize("number", [
    signal.SIGTERM,
    pytest.param(signal.SIGINT, marks=variant),
], ids=["SIGTERM", "SIGINT"])
def test_sigterm_says_offline_everywhere_within_two_seconds(house, number):
    live = Live(house)
    since = live.recorder.mark()
    assert live.gateway.stop(number) < 2 * SLACK
    for topic in (STATUS, AVAILABILITY, OTHER_AVAILABILITY):
        live.recorder.wait(topic, "offline", since, 2 * SLACK)
    late = house.recorder(live.broker.port)
    for topic in (STATUS, AVAILABILITY, OTHER_AVAILABILITY):
        message = late.wait(topic, timeout=5 * SLACK)
        assert (message.text, message.retain) == ("offline", True)
    wait_until(lambda: not live.simulator.connected(METER), 5 * SLACK, "the link is let go")


def test_kill_9_leaves_the_will(house):
    live = Live(house)
    since = live.recorder.mark()
    live.gateway.kill()
    live.recorder.wait(STATUS, "offline", since, 5 * SLACK)
    late = house.recorder(live.broker.port)
    message = late.wait(STATUS)
    assert (message.text, message.retain) == ("offline", True)


def test_after_kill_9_a_new_run_takes_the_links_over(house):
    live = Live(house)
    live.gateway.kill()
    since = live.recorder.mark()
    live.gateway.start()
    live.recorder.wait(STATUS, "online", since, 10 * SLACK)
    live.recorder.wait(AVAILABILITY, "online", since, 20 * SLACK)
    live.works(since, 5 * SLACK)


def assert_bluetooth_goes_on(simulator, gateway):
    """Links come up and back, and SIGTERM is heard, whatever the broker does."""

    def subscribed():
        try:
            simulator.ask(f"notify {METER} stream 1 100")
            return True
        except AssertionError:
            return False

    wait_until(lambda: simulator.connected(METER), 15 * SLACK, "the link is up")
    wait_until(subscribed, 10 * SLACK, "the gateway has subscribed")
    simulator.ask(f"drop {METER}")
    wait_until(lambda: not simulator.connected(METER), 5 * SLACK, "the link is lost")
    wait_until(lambda: simulator.connected(METER), 10 * SLACK, "the link is back")
    wait_until(subscribed, 10 * SLACK, "the gateway has subscribed again")
    assert gateway.stop() < 2 * SLACK


@pytest.mark.parametrize("full", [False, True], ids=["connects-but-silent", "backlog-full"])
def test_a_listener_that_never_accepts_blocks_nothing(house, full):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0 if full else 16)
        address = listener.getsockname()
        fillers = []
        while full:  # until the kernel no longer answers
            filler = socket.socket()
            filler.settimeout(0.3)
            fillers.append(filler)
            try:
                filler.connect(address)
            except OSError:
                break
        simulator = house.simulate(peripherals())
        gateway = house.gateway(settings(address[1]))
        assert_bluetooth_goes_on(simulator, gateway)
        for filler in fillers:
            filler.close()


def test_a_name_server_that_never_answers_blocks_nothing(house):
    simulator = house.simulate(peripherals())
    before = harness.deaf_name_server(house.dir)
    if before is None:
        pytest.skip("no permission to make namespaces")
    gateway = house.gateway(settings(1883, host="broker.example"), before=before)
    wait_until(lambda: harness.name_server_asked(gateway.process.popen.pid), 10 * SLACK,
               "the name server is asked")
    assert_bluetooth_goes_on(simulator, gateway)


def test_thrown_out_by_a_client_of_the_same_name_it_comes_back(house):
    live = Live(house)
    since = live.recorder.mark()
    thief = harness.Recorder(live.broker.port, client_id=f"gatt2mqtt-{GATEWAY}")
    thief.close()
    live.recorder.wait(STATUS, "online", since, 20 * SLACK)
    live.works(since, 5 * SLACK)

"""What was notified against what arrived: nothing lost, nothing doubled, all in order.

A value carries its number and the run of the simulator that sent it. Numbers begin with 1 in each
run, so what arrives of a run must be 1, 2, 3, ... A double is a number that was there before; it is
excused where the connection to the broker broke since the last check: then as many as may be
unacknowledged at once, and of a broker that lost its memory one for each topic.
"""

WINDOW = 20  # messages that may be unacknowledged


class Stream:
    """One characteristic of one device."""

    def __init__(self, device):
        self.device = device
        self.seen = {}  # the last number of each run
        self.run = 0  # the newest that arrived
        self.n = 0


class Ledger:
    def __init__(self, devices):
        self.streams = {each: Stream(each) for each in devices}
        self.faults = []  # what must not be
        self.doubles = 0  # since the last check
        self.total_doubles = 0
        self.excuses = 0

    def fault(self, text):
        self.faults.append(text)

    def connection_broke(self, memory_lost=False):
        self.excuses += WINDOW + (len(self.streams) if memory_lost else 0)

    def arrived(self, device, run, number):
        stream = self.streams[device]
        stream.n += 1
        last = stream.seen.get(run, 0)
        if number <= last:
            self.doubles += 1
            return
        if number != last + 1:
            self.fault(f"{device}: {number - last - 1} lost or late after {last} of run {run}")
        if run < stream.run:
            self.fault(f"{device}: {number} of run {run} comes after run {stream.run}")
        stream.run = run
        stream.seen[run] = number

    def count(self):
        return sum(stream.n for stream in self.streams.values())

    def last(self, device, run):
        return self.streams[device].seen.get(run, 0)

    def check_doubles(self):
        """Whether there were more doubles than broken connections explain."""
        if self.doubles > self.excuses:
            self.fault(f"{self.doubles} doubles where at most {self.excuses} are excused")
        self.total_doubles += self.doubles
        self.doubles = self.excuses = 0

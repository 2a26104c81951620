"""The benchmark's table: what was measured, and what of the goals it reaches."""

from statistics import median

NAMES = {"ours": "gatt2mqtt", "socket": "gatt2mqtt, notify: socket", "pipe": "C pipe",
         "nodelay": "C pipe, TCP_NODELAY", "bleak": "bleak + paho-mqtt"}


def figure(value, digits=2, unit=""):
    return "-" if value is None else f"{value:,.{digits}f}{unit}"


def table(title, head, rows):
    print(f"\n{title}")
    widths = [max(len(str(row[i])) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        print("  " + "  ".join(str(cell).ljust(width) if i == 0 else str(cell).rjust(width)
                               for i, (cell, width) in enumerate(zip(row, widths))))


def values(runs, *path):
    """That figure of each run."""
    got = []
    for run in runs or ():
        for key in path:
            run = run.get(key) if run is not None else None
        if run is not None:
            got.append(run)
    return got


def mid(runs, *path):
    got = values(runs, *path)
    return median(got) if got else None


def ratio(results, step, other, *path, ours="ours"):
    """Ours by the other's, run by run: the median of the pairs."""
    runs = results.get(step, {})
    pairs = [a / b for a, b in zip(values(runs.get(ours), *path), values(runs.get(other), *path))
             if b]
    return median(pairs) if pairs else None


# ---- what was measured

def show_pairs(results):
    for step, title, flows in (("pairs", "10 devices, 20 bytes, QoS 0 (medians)", ("r1000", "r100")),
                               ("qos1", "the same at QoS 1", ("r1000",)),
                               ("long", "244 bytes, QoS 0", ("r700",))):
        rows = []
        for kind, runs in results.get(step, {}).items():
            for flow in flows:
                rows.append((NAMES[kind], f"{flow[1:]}/s",
                             figure(mid(runs, flow, "cpu_per_10k"), 3),
                             *(figure(mid(runs, flow, key), 0)
                               for key in ("p50_us", "p99_us", "max_us")),
                             figure(sum(values(runs, flow, "lost")), 0)))
        if rows:
            table(title, ("", "rate", "CPU s/10k", "p50 µs", "p99 µs", "max µs", "lost"), rows)
    rows = [(NAMES[kind], figure(mid(runs, "start_s"), 3), figure(mid(runs, "start_cpu"), 4),
             figure(mid(runs, "adverts"), 3)) for kind, runs in results.get("pairs", {}).items()]
    if rows:
        table("Start to 10 subscribed; advertisements that nobody asked for",
              ("", "s", "CPU s", "CPU s/10k advertisements"), rows)


def show_rest(results):
    if "instructions" in results:
        table("Instructions for each notification (callgrind, all threads, 100/s)", ("", "Ir"),
              [(f"{NAMES[name.split('_')[0]]}, " + ", ".join(name.split("_")[1:]), figure(value, 0))
               for name, value in results["instructions"].items()])
    if "ramp" in results:
        table("Highest rate tried that was held for 1 s without loss", ("", "per s"),
              [(NAMES[kind], figure(rate, 0)) for kind, rate in results["ramp"].items()])
    if "memory" in results:
        got = results["memory"]
        rows = [("floor: the libraries, connected", *(figure(v, 0) for v in got["floor"]))]
        rows += [(f"gatt2mqtt, {n} devices", *(figure(v, 0) for v in kib))
                 for n, kib in got["ours"].items()]
        quiet = results.get("quiet")
        if quiet:
            rows += [("in a burst of 100,000", *(figure(v, 0) for v in quiet["burst_most"])),
                     (f"{quiet['seconds']} s after it", *(figure(v, 0) for v in quiet["burst_after"]))]
        table("Memory, KiB", ("", "RSS", "RssAnon"), rows)
        table("Start to all subscribed", ("devices", "s", "CPU s"),
              [(n, figure(got[f"start_{n}"]["seconds"], 3), figure(got[f"start_{n}"]["cpu"], 4))
               for n in (10, 100, 200)])


def show_sweep(results):
    rows = []
    for row in results.get("sweep", ()):
        flow = row["flow"]
        rows.append((NAMES[row["kind"]], f"{row['rate']}/s", row["devices"], row["size"],
                     row["form"], row["qos"], figure(flow.get("cpu_per_10k"), 3),
                     *(figure(flow.get(key), 0) for key in ("p50_us", "p99_us", "lost"))))
    if rows:
        table("How it grows (one run each)",
              ("", "rate", "devices", "bytes", "payload", "QoS", "CPU s/10k", "p50 µs", "p99 µs",
               "lost"), rows)


# ---- what of the goals it reaches

class Goals:
    def __init__(self):
        self.rows = []

    def line(self, text, value, limit, digits=2, unit=""):
        verdict = "not measured" if value is None else "ok" if value <= limit else "falls short"
        self.rows.append((text, figure(value, digits, unit), f"≤ {limit:,.{digits}f}{unit}", verdict))


def goals_of_pairs(goals, results):
    for ours, how in (("ours", ""), ("socket", ", notify: socket")):
        for flow, what, other, whose, limit in (
                ("r1000", "1000/s", "bleak", "bleak", 0.40),
                ("r1000", "1000/s", "pipe", "the C pipe", 1.10),
                ("r100", "100/s", "bleak", "bleak", 0.25)):
            goals.line(f"1 CPU at {what}{how}, of {whose}'s",
                       ratio(results, "pairs", other, flow, "cpu_per_10k", ours=ours), limit)
        goals.line(f"1 CPU at 1000/s, QoS 1{how}, of bleak's",
                   ratio(results, "qos1", "bleak", "r1000", "cpu_per_10k", ours=ours), 0.60)
    for step, flow, what in (("pairs", "r1000", "1000/s"), ("long", "r700", "244 bytes, 700/s")):
        goals.line(f"2 p50 at {what}, of the C pipe's with TCP_NODELAY",
                   ratio(results, step, "nodelay", flow, "p50_us"), 1.15)
        goals.line(f"2 p99 at {what}, of the C pipe's with TCP_NODELAY",
                   ratio(results, step, "nodelay", flow, "p99_us"), 2)
        worst = values(results.get(step, {}).get("ours"), flow, "p99_us")
        goals.line(f"2 p99 at {what}, the worst run", max(worst) / 1000 if worst else None, 2,
                   unit=" ms")


def goals_of_load(goals, results):
    for step, how in (("", ""), ("_socket", ", notify: socket (ten of them)")):
        hold, stop = results.get(f"hold{step}"), results.get(f"stop{step}")
        goals.line(f"3 lost of 10,000/s{how}", hold and hold["lost"], 0, 0)
        goals.line(f"3 ... how far behind at its end{how}", hold and hold["behind_s"], 0.25, unit=" s")
        goals.line(f"3 lost of 1000/s while stopped for 1 s{how}", stop and stop["lost"], 0, 0)
    for window in (20, 1):
        drain = results.get(f"drain{window}")
        goals.line(f"3 5,000 at QoS 1, receive maximum {window}: drained in",
                   drain and drain["seconds"], 2, unit=" s")
        goals.line("3 ... lost", drain and drain["lost"], 0, 0)


def goals_of_rest(goals, results):
    rest, quiet = results.get("memory"), results.get("quiet")
    floor = rest and rest["floor"][0]

    def above(kib):
        return (kib[0] - floor) / 1024 if floor and kib else None

    goals.line("4 RSS above the floor, 10 devices", rest and rest["above_10"] / 1024, 1, unit=" MiB")
    goals.line("4 RSS above the floor, 100 devices", above(rest and rest["ours"][100]), 3,
               unit=" MiB")
    goals.line("4 ... in a burst of 100,000", above(quiet and quiet["burst_most"]), 25, unit=" MiB")
    goals.line(f"4 ... {quiet['seconds'] if quiet else 60} s later", above(quiet and
                                                                          quiet["burst_after"]),
               3, unit=" MiB")
    goals.line("5 start to 10 subscribed, of the C pipe's time",
               ratio(results, "pairs", "pipe", "start_s"), 5)
    goals.line("5 ... of its CPU", ratio(results, "pairs", "pipe", "start_cpu"), 3)
    goals.line("5 200 devices all subscribed: complaints", rest and len(rest["complaints_200"]), 0, 0)
    goals.line("6 wake-ups of our own thread while idle, per s",
               quiet and median(quiet["wakeups"]), 0.5)
    goals.line("6 CPU while idle, of Paho alone",
               quiet and median(quiet["ratios"]), 1.2)
    ir = results.get("instructions")
    goals.line("7 instructions at 200 devices, of those at 1", ir and ir["ours_200"] / ir["ours_1"],
               1.1)


def write(results, plan):
    got = results["machine"]
    print(f"gatt2mqtt benchmark, {got['date']}, {got['cpu']}, {got['cores']} cores, kernel "
          f"{got['kernel']}, load {got['load']:.1f} at the start; {plan.rounds} rounds, "
          f"{results['seconds']:.0f} s")
    show_pairs(results)
    show_rest(results)
    show_sweep(results)
    goals = Goals()
    goals_of_pairs(goals, results)
    goals_of_load(goals, results)
    goals_of_rest(goals, results)
    table("The goals (ratios: median of the pairs)", ("", "measured", "limit", ""), goals.rows)
    for failure in results["failures"]:
        print(f"failed: {failure}")

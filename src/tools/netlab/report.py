"""What went over the lines, for people and for programs."""

import json
import sys

from netlab.network import FRAME_PER_PAYLOAD

MEGA = 1e6


def capacity_bytes(testbed, events, seconds):
    """(from, to) -> payload that the line could take in so many seconds.

    `events` are the changes that were made, when they were made.
    """
    capacities = {}
    for pair, line in testbed.lines.items():
        rate, is_cut, since_s, capacity = line.bytes_per_s, False, 0.0, 0.0
        for event in events:
            if pair not in event.pairs:
                continue
            capacity += 0.0 if is_cut else rate * (event.at_s - since_s)
            since_s = event.at_s
            if event.verb:
                is_cut = event.verb == "add"
            else:
                rate = event.bytes_per_s
        capacity += 0.0 if is_cut else rate * (seconds - since_s)
        capacities[pair] = capacity
    return capacities


def print_counts(testbed, counts, events, seconds):
    print(f"netlab: bytes on the lines in {seconds:.1f} s", file=sys.stderr)
    capacities = capacity_bytes(testbed, events, seconds)
    width = max(len(site.name) for site in testbed.sites)
    for (i, j), (sent, dropped) in sorted(counts.items()):
        if sent == 0:
            continue
        # None at all if the line was cut before the first packet had left.
        capacity = max(1.0, capacities[i, j] * FRAME_PER_PAYLOAD)
        print(f"  {testbed.sites[i].name:>{width}} to "
              f"{testbed.sites[j].name:<{width}}  {sent / MEGA:10.2f} MB"
              f"  {100 * sent / capacity:5.1f}% of the line"
              f"  {dropped} packets dropped", file=sys.stderr)


def write_counts(path, testbed, counts, seconds):
    with open(path, "w") as file:
        json.dump({"seconds": seconds,
                   "lines": [{"from": testbed.sites[i].name,
                              "to": testbed.sites[j].name,
                              "bytes": sent, "dropped": dropped}
                             for (i, j), (sent, dropped)
                             in sorted(counts.items())]}, file, indent=1)
        file.write("\n")

"""What went over the lines, for people and for programs."""

import json
import sys

from netlab.network import FRAME_PER_PAYLOAD

MEGA = 1e6


def print_counts(testbed, counts, seconds):
    print(f"netlab: bytes on the lines in {seconds:.1f} s", file=sys.stderr)
    width = max(len(site.name) for site in testbed.sites)
    for (i, j), (sent, dropped) in sorted(counts.items()):
        if sent == 0:
            continue
        line = testbed.lines[i, j]
        share = sent / (line.bytes_per_s * FRAME_PER_PAYLOAD * seconds)
        print(f"  {testbed.sites[i].name:>{width}} to "
              f"{testbed.sites[j].name:<{width}}  {sent / MEGA:10.2f} MB"
              f"  {100 * share:5.1f}% of the line"
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

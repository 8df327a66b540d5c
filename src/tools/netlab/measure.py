"""What each line of a netlab gives, beside what was asked for."""

import subprocess
import sys
from pathlib import Path

from netlab.network import wan_address

STREAM = Path(__file__).resolve().parent / "stream.py"
STREAM_S = 4.0
LEAST_STREAM_BYTES = 262144


def measure(lab):
    """A table on stdout, a row for each line; the exit status."""
    print(f"{'from':>12} {'to':<12} {'one way':>10} {'measured':>10} "
          f"{'rate':>14} {'measured':>14}", flush=True)
    testbed = lab.testbed
    for (i, j), line in sorted(testbed.lines.items()):
        rate = min(rate for rate in
                   (line.bytes_per_s, testbed.sites[i].uplink_bytes_per_s,
                    testbed.sites[j].downlink_bytes_per_s) if rate)
        back = testbed.lines[j, i].latency_s
        round_trip_s, got = _measure_line(lab, i, j, rate)
        print(f"{testbed.sites[i].name:>12} {testbed.sites[j].name:<12} "
              f"{1e3 * line.latency_s:7.2f} ms "
              f"{1e3 * (round_trip_s - back):7.2f} ms "
              f"{rate * 8e-6:7.2f} Mbit/s {got * 8e-6:7.2f} Mbit/s",
              flush=True)
    return 0


def _measure_line(lab, i, j, bytes_per_s):
    num_bytes = max(LEAST_STREAM_BYTES, round(bytes_per_s * STREAM_S))
    arguments = [sys.executable, str(STREAM)]
    server = lab.start(j, [*arguments, "serve", wan_address(j)], {},
                       stdout=subprocess.PIPE, text=True)
    server.stdout.readline()
    client = lab.start(
        i, [*arguments, "ask", wan_address(j), str(num_bytes)], {},
        stdout=subprocess.PIPE, text=True)
    round_trip_s, rate = map(float, client.communicate()[0].split())
    server.wait()
    return round_trip_s, rate

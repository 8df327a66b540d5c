"""The trace is JSON, and no two events of a process overlap.

    chrome_trace_test.py PROGRAM
"""

import json
import subprocess
import sys
from collections import defaultdict


def main(program):
    text = subprocess.run([program], check=True, capture_output=True,
                          text=True).stdout
    trace = json.loads(text)
    events = trace["traceEvents"]

    names = {event["pid"]: event["args"]["name"] for event in events
             if event["name"] == "process_name"}
    spans = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            spans[event["pid"]].append(event)

    # 4 stages; 3 links each way and the one of the parameter gradients.
    assert len(names) == 4 + 6 + 1, names
    assert names[2] == 'stage 2 on c "c"', names
    assert any('"quoted" \\ back\nslash' in name for name in names.values())
    assert set(spans) == set(names), "every process has events, and a name"
    for pid in range(4):
        found = sorted(event["name"] for event in spans[pid])
        due = [f"{kind}{m}" for kind in "FB" for m in range(6)] + ["update"]
        assert found == sorted(due), found
    for pid in range(4, 11):
        assert all(event["args"]["bytes"] > 0 for event in spans[pid])
        assert all(event["args"]["latency_us"] > 0 for event in spans[pid])
    for of_process in spans.values():
        ns = sorted((round(event["ts"] * 1000), round(event["dur"] * 1000))
                    for event in of_process)
        assert all(duration >= 0 for _, duration in ns)
        for (begin, duration), (following, _) in zip(ns, ns[1:]):
            assert begin + duration <= following, (begin, duration, following)


if __name__ == "__main__":
    main(sys.argv[1])

"""Changes of lines while a command runs: `--at 5s:lyon-osaka=0.8Mbit/s`."""

import re
from collections import Counter
from typing import NamedTuple

from netlab.testbed import InputError, parse_bytes_per_s, parse_seconds

EXAMPLES = ("5s:lyon-osaka=0.8Mbit/s (both directions), "
            "5s:lyon>osaka=0.8Mbit/s (one), 10s:lyon-osaka=down:5s")


class Event(NamedTuple):
    at_s: float
    what: str  # for people
    pairs: tuple  # of (from, to); of a cut, those that it changes
    bytes_per_s: float  # 0: this event does not change the rate
    verb: str  # of a cut: "add", "del"; empty: none


def parse_events(texts, testbed):
    """In the order of their times."""
    events = []
    for text in texts:
        events += _parse_event(text, testbed)
    return _join_cuts(sorted(events, key=lambda event: event.at_s))


def _join_cuts(events):
    """A direction is cut by its first cut, and up again after its last."""
    num_cuts = Counter()
    joined = []
    for event in events:
        if event.verb == "add":
            pairs = tuple(x for x in event.pairs if num_cuts[x] == 0)
            num_cuts.update(event.pairs)
            event = event._replace(pairs=pairs)
        elif event.verb == "del":
            num_cuts.subtract(event.pairs)
            pairs = tuple(x for x in event.pairs if num_cuts[x] == 0)
            if pairs != event.pairs:
                event = event._replace(
                    pairs=pairs, what=f"{event.what}, but for another cut")
        joined.append(event)
    return joined


def _parse_event(text, testbed):
    match = re.fullmatch(r"([^:]+):([^=]+)=(.+)", text)
    try:
        if not match:
            raise InputError("it is not TIME:SITE-SITE=RATE")
        begin = parse_seconds(match.group(1))
        pairs = _parse_pairs(match.group(2), testbed)
        name, change = match.group(2), match.group(3)
        if not change.startswith("down:"):
            return [Event(begin, f"{name} has {change}", pairs,
                          parse_bytes_per_s(change), "")]
        end = begin + parse_seconds(change.removeprefix("down:"))
        return [Event(begin, f"{name} is down", pairs, 0.0, "add"),
                Event(end, f"{name} is up again", pairs, 0.0, "del")]
    except InputError as error:
        raise InputError(
            f"--at {text}: {error}; write it as in {EXAMPLES}") from None


def _parse_pairs(text, testbed):
    """Names of sites may hold a - too: try every one."""
    for i, letter in enumerate(text):
        if letter in "->":
            a, b = testbed.index(text[:i]), testbed.index(text[i + 1:])
            if None not in (a, b) and a != b:
                return ((a, b), (b, a)) if letter == "-" else ((a, b),)
    names = ", ".join(site.name for site in testbed.sites)
    raise InputError(f"'{text}' does not name two of the sites {names}")

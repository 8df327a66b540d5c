"""What fusionllm-netlab reads, without a lab."""

import argparse
import contextlib
import io
import pathlib
import sys
import tempfile
import unittest

parser = argparse.ArgumentParser()
parser.add_argument("--source", required=True)
options, rest = parser.parse_known_args()
sys.path.insert(0, str(pathlib.Path(options.source) / "src/tools"))

from netlab import network, report  # noqa: E402
from netlab.events import parse_events  # noqa: E402
from netlab.testbed import InputError, Line, load_testbed  # noqa: E402

TESTBEDS = pathlib.Path(options.source) / "inputs/testbeds"


def load(text):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "testbed.toml"
        path.write_text(text)
        return load_testbed(path)


THREE = """
sites = [{name = "a", ranks = 2}, {name = "b-c", ranks = 1},
         {name = "c", ranks = 1, uplink = "40 Mbit/s"}]
default_link = {bandwidth = "1 Gbit/s", latency = "3 ms"}
links = [{between = ["a", "b-c"], bandwidth = "8 Mbit/s", latency = "25 ms"},
         {from = "a", to = "c", bandwidth = "1 MB/s", latency = "0 s"}]
"""


class Testbeds(unittest.TestCase):
    def test_every_line_has_its_link_or_the_default_one(self):
        testbed = load(THREE)

        self.assertEqual([site.num_devices for site in testbed.sites],
                         [2, 1, 1])
        self.assertEqual(testbed.lines[0, 1], Line(1e6, 0.025))
        self.assertEqual(testbed.lines[1, 0], Line(1e6, 0.025))
        self.assertEqual(testbed.lines[0, 2], Line(1e6, 0.0))
        self.assertEqual(testbed.lines[2, 0], Line(125e6, 0.003))
        self.assertEqual(testbed.sites[2].uplink_bytes_per_s, 5e6)
        self.assertEqual(len(testbed.lines), 6)

    def test_an_empty_cell_of_a_matrix_is_as_the_other_direction(self):
        testbed = load("""
sites = [{name = "x", ranks = 1}, {name = "y", ranks = 1}]
[matrix]
sites = ["x", "y"]
bandwidth = [["-", "60 Mbit/s"], ["16 Mbit/s", "-"]]
latency = [["-", "115 ms"], ["-", "-"]]
""")

        self.assertEqual(testbed.lines[0, 1], Line(7.5e6, 0.115))
        self.assertEqual(testbed.lines[1, 0], Line(2e6, 0.115))

    def test_all_testbeds_of_the_repository_are_read(self):
        for path in sorted(TESTBEDS.glob("*.toml")):
            testbed = load_testbed(path)
            devices = sum(site.num_devices for site in testbed.sites)
            self.assertEqual(devices, 2 if path.stem == "laptop" else 48)

    def test_an_input_is_read_too(self):
        testbed = load_testbed(TESTBEDS.parent / "two-sites.toml")

        self.assertEqual([site.name for site in testbed.sites],
                         ["lyon", "osaka"])

    def test_a_host_at_two_sites_is_refused(self):
        for a, b in [('devices = [{host = "h"}]', 'devices = [{host = "h"}]'),
                     ('devices = [{host = "h"}, {host = "g"}]',
                      'devices = [{host = "h"}, {host = "f"}]'),
                     ('devices = [{host = "h"}]', 'ranks = 1')]:
            text = (f'sites = [{{name = "a", {a}}}, {{name = "h", {b}}}]')
            with self.assertRaisesRegex(
                    InputError, "host 'h' is at the sites a and h", msg=text):
                load(text)

    def test_what_cannot_be_shaped_or_read_is_named(self):
        site = 'sites = [{name = "a", ranks = 2}, {name = "b", ranks = 1}]\n'
        for text, word in [
                ("", "no sites"),
                (site + 'default_link = {bandwidth = "8 Mb/s", '
                 'latency = "1 ms"}', "'8 Mb/s'"),
                (site + 'links = [{between = ["a-0", "b-0"], bandwidth = '
                 '"8 Mbit/s", latency = "1 ms"}]', "only lines between sites"),
                ('sites = [{name = "a b", ranks = 1}]', "'a b'"),
                ("sites = 3", "not a topology"),
                ("sites =", "not TOML")]:
            with self.assertRaisesRegex(InputError, word, msg=text):
                load(text)


class Events(unittest.TestCase):
    def test_a_change_of_rate_names_both_directions_or_one(self):
        testbed = load(THREE)

        both, one = parse_events(
            ["5s:a-b-c=0.8Mbit/s", "6 s:b-c>c=1MB/s"], testbed)

        self.assertEqual((both.at_s, both.pairs, both.bytes_per_s),
                         (5.0, ((0, 1), (1, 0)), 1e5))
        self.assertEqual((one.at_s, one.pairs, one.bytes_per_s),
                         (6.0, ((1, 2),), 1e6))

    def test_a_cut_ends_and_events_come_in_their_order(self):
        events = parse_events(["10s:a-c=down:5s", "11s:a-c=1MB/s"],
                              load(THREE))

        self.assertEqual([(event.at_s, event.verb) for event in events],
                         [(10.0, "add"), (11.0, ""), (15.0, "del")])

    def test_a_direction_is_up_again_when_its_last_cut_has_ended(self):
        both = ((0, 2), (2, 0))

        events = parse_events(["2s:a>c=down:2s", "1s:a-c=down:2s",
                               "5s:a>c=down:1s", "4s:a>c=down:1s"],
                              load(THREE))

        self.assertEqual([(event.at_s, event.verb, event.pairs)
                          for event in events],
                         [(1.0, "add", both), (2.0, "add", ()),
                          (3.0, "del", ((2, 0),)), (4.0, "del", ((0, 2),)),
                          (4.0, "add", ((0, 2),)), (5.0, "add", ()),
                          (5.0, "del", ()), (6.0, "del", ((0, 2),))])
        self.assertEqual(events[2].what,
                         "a-c is up again, but for another cut")
        self.assertEqual(events[3].what, "a>c is up again")

    def test_a_change_that_makes_no_sense_is_refused(self):
        for text in ("5s", "5s:a-d=1MB/s", "5:a-c=1MB/s", "5s:a-c=fast",
                     "5s:a-c=down:5", "5s:a-a=1MB/s", "5s:a-c=0Mbit/s"):
            with self.assertRaisesRegex(InputError, "--at 5", msg=text):
                parse_events([text], load(THREE))


class Report(unittest.TestCase):
    def test_a_line_takes_what_its_rates_and_cuts_leave(self):
        testbed = load(THREE)
        events = parse_events(["1s:a-b-c=4MB/s", "2s:a>b-c=down:3s",
                               "4s:a>b-c=down:2s", "3s:a>b-c=2MB/s"], testbed)

        capacities = report.capacity_bytes(testbed, events, 10.0)

        # 1 MB/s for 1 s, 4 MB/s for 1 s, nothing for 4 s, 2 MB/s for 4 s
        self.assertAlmostEqual(capacities[0, 1], 13e6)
        self.assertAlmostEqual(capacities[1, 0], 37e6)
        self.assertAlmostEqual(capacities[0, 2], 10e6)

    def test_a_share_is_of_the_rates_that_a_line_had(self):
        testbed = load(THREE)
        events = parse_events(["1s:a>b-c=8kbit/s"], testbed)
        said = io.StringIO()

        with contextlib.redirect_stderr(said):
            report.print_counts(testbed, {(0, 1): (1_000_000, 0)}, events, 2.0)

        self.assertIn(" 95.5% of the line", said.getvalue())


class Network(unittest.TestCase):
    def test_sources_of_a_limited_downlink_own_no_more_than_it_together(self):
        testbed = load("""
sites = [{name = "a", ranks = 1}, {name = "b", ranks = 1},
         {name = "c", ranks = 1, downlink = "10 Mbit/s"}]
default_link = {bandwidth = "8 Mbit/s", latency = "0 s"}
""")

        rates = [line.split() for line in network.port_commands(testbed, 2)
                 if line.startswith("class")]

        own = {words[7]: int(words[10].removesuffix("bit")) for words in rates}
        downlink = own.pop("1:1")
        pairs = [f"1:{network.pair_class(i):x}" for i in (0, 1)]
        self.assertLessEqual(sum(own[pair] for pair in pairs),
                             downlink + len(pairs))  # rounded to bits

    def test_a_new_rate_brings_a_queue_of_its_own(self):
        testbed = load(THREE)
        fast, slow = [
            [words[-1] for words in map(str.split, network.rate_commands(
                testbed._replace(lines={**testbed.lines, (1, 2): line}), 1, 2))
             if words[:2] == ["qdisc", "change"]]
            for line in (Line(10e6, 0.025), Line(1e5, 0.025))]

        self.assertEqual(fast, ["1000000"] * 2)  # 50 ms and a round trip
        self.assertEqual(slow, ["131072"] * 2)  # the least

    def test_counts_are_summed_over_the_leaves_of_a_source(self):
        text = """
class htb 1:104 root rate 8Mbit ceil 8Mbit burst 3200b cburst 3200b
 Sent 300 bytes 3 pkt (dropped 0, overlimits 0 requeues 0)
class htb 1:105 parent 1:104 leaf 105: prio 0 rate 1Mbit
 Sent 100 bytes 2 pkt (dropped 0, overlimits 0 requeues 0)
class htb 1:106 parent 1:104 leaf 106: prio 1 rate 7Mbit
 Sent 200 bytes 1 pkt (dropped 4, overlimits 0 requeues 0)
"""

        self.assertEqual(network.parse_counts(text), {1: (300, 4)})


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], "--verbose", *rest])

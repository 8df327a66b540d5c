#!/usr/bin/env python3
"""What evaluation.py makes of a testbed and of plans, on made-up ones."""

import math
import pathlib
import unittest

import evaluation_report
import evaluation_testbed


def site(name, **limits):
    return {"name": name, "devices": [{"kind": "gpu", "count": 2}], **limits}


def testbed(**table):
    return evaluation_testbed.Testbed("made-up", pathlib.Path("/t/a.toml"), {
        "device_files": ["gpus.toml"],
        "default_link": {"bandwidth": "100 Mbit/s"}, **table})


def plan(step_s, links=(), fences=(), more_steps=0.0):
    return {"more_steps_for_errors": more_steps,
            "step_s": step_s, "parts": {"compute_s": 1.0, "bubble_s": 0.5},
            "links": links, "fences": fences, "stages": [{}],
            "schedule": "1f1b", "in_flight": [], "bottleneck": "stage 0",
            "bottleneck_share": 0.5}


class TestbedTest(unittest.TestCase):
    def test_the_rate_between_sites_is_the_least_on_the_way(self):
        made = testbed(sites=[site("a"), site("b", uplink="8 Mbit/s"),
                              site("c")],
                       links=[{"between": ["a", "c"],
                               "bandwidth": "1 Gbit/s"}])
        self.assertEqual(made.rate("a", "b"), 1e6)
        self.assertEqual(made.rate("c", "a"), 1.25e8)

    def test_a_matrix_is_read_in_either_direction(self):
        made = testbed(sites=[site("a"), site("b")], matrix={
            "sites": ["a", "b"],
            "bandwidth": [["-", "16 Mbit/s"], ["-", "-"]]})
        self.assertEqual(made.rate("b", "a"), made.rate("a", "b"))

    def test_faster_links_reach_fewer_sites(self):
        made = testbed(sites=[site("a"), site("b", uplink="8 Mbit/s"),
                              site("c")])
        self.assertEqual(list(made.reachable()), [
            (None, ("a",)), (None, ("b",)), (None, ("c",)),
            (1e6, ("a", "b", "c")), (1.25e7, ("a", "c"))])

    def test_free_links_keep_the_devices_of_the_sites(self):
        made = testbed(sites=[site("a"), site("b", uplink="8 Mbit/s")])
        text = made.free_links(("b",))
        self.assertIn('"/t/gpus.toml"', text)
        self.assertIn('kind = "gpu", count = 2', text)
        self.assertNotIn("uplink", text)
        self.assertNotIn('"a"', text)


class ReportTest(unittest.TestCase):
    def row(self, plans, partition="op_fence"):
        return evaluation_report.row_of(
            "m", testbed(sites=[site("a"), site("b")]), partition, "given",
            "dense", plans)

    def test_only_bytes_between_sites_count(self):
        links = [{"from": 0, "to": 1, "bytes": 5},
                 {"from": 1, "to": 2, "bytes": 7}]
        row = self.row([plan(3.0, links)])
        self.assertEqual(row.wan_bytes, 7)
        self.assertEqual(row.link_bytes, {("a", "b"): 7})

    def test_links_of_two_sites_count_together(self):
        links = [{"from": 0, "to": 2, "bytes": 5},
                 {"from": 1, "to": 3, "bytes": 7},
                 {"from": 3, "to": 1, "bytes": 2}]
        self.assertEqual(self.row([plan(3.0, links)]).link_bytes,
                         {("a", "b"): 12, ("b", "a"): 2})

    def test_the_tax_is_over_free_links(self):
        self.assertEqual(self.row([plan(3.0)]).wan_tax, 2)

    def test_the_median_of_the_orders_counts(self):
        row = self.row([plan(1.0), None, plan(9.0), plan(2.0)])
        self.assertEqual(row.step_s, 2.0)

    def test_steps_for_errors_are_charged(self):
        row = self.row([plan(2.0, more_steps=0.5)])
        self.assertEqual(row.charged_s, 3.0)
        self.assertEqual(evaluation_report.more_steps(row), "+50%")
        self.assertEqual(evaluation_report.more_steps(
            self.row([plan(2.0, more_steps=11.0)])), "twice or more")
        self.assertEqual(evaluation_report.more_steps(self.row([plan(2.0)])),
                         "")

    def test_the_summary_takes_the_baseline_of_the_least_charge(self):
        def made(rule, partition, step_s, errors):
            return evaluation_report.Row(
                "m", "made-up", partition, "given", rule, step_s, step_s,
                more_steps=errors)

        rows = [made("dense", "equal_ops", 20.0, 0),
                made("uniform top-k 100", "equal_ops", 1.0, 99.0),
                made("AdaTopK as we read it", "equal_ops", 1.5, 0.25),
                made("dense", "op_fence", 10.0, 0),
                made("adaptive", "op_fence", 0.5, 0.125)]
        head, _, cells = evaluation_report.summary_table(
            {("m", "made-up"): rows}, {("m", "made-up"): 1.0})
        found = dict(zip(head.strip("| ").split(" | "),
                         cells.strip("| ").split(" | ")))
        self.assertEqual(found["uniform or paper"], "2")
        self.assertEqual(found["with steps for errors, at most twice"], "3.33")

    def test_what_fits_nowhere_is_in_no_comparison(self):
        row = self.row([None])
        self.assertTrue(math.isnan(row.step_s))
        self.assertIsNone(evaluation_report.least(
            [row], ("op_fence",), ("dense",)))


if __name__ == "__main__":
    unittest.main()

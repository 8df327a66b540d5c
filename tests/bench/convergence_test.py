#!/usr/bin/env python3
"""What convergence.py makes of finished runs, on made-up ones."""

import contextlib
import io
import pathlib
import tempfile
import unittest

import convergence
import convergence_cells
import convergence_plans
import convergence_report


def result(label, loss, task="text", fences="none", seed=1, byte_ratio=1.0):
    return {"task": task, "label": label, "fences": fences, "seed": seed,
            "steps": 10, "byte_ratio": byte_ratio, "loss": loss,
            "loss_codec_off": loss + 0.1, "train_curve": []}


def fence(direction, sent, byte_ratio):
    return {"cut": 29, "direction": direction, "bytes": sent,
            "byte_ratio": byte_ratio}


class Cells(unittest.TestCase):
    def test_have_names_of_their_own(self):
        names = [cell.name for cell in convergence_cells.cells()]

        self.assertEqual(len(names), len(set(names)))

    def test_of_zeros_run_for_a_tenth_of_the_steps(self):
        cell = convergence_cells.control("text", 2, "zeros")

        self.assertEqual(cell.steps(None), 100)


class PlannedFences(unittest.TestCase):
    def fences(self, *cuts):
        return [convergence_plans.Fence(cut, 500 + cut, "int8", 0.01)
                for cut in cuts]

    def test_of_a_resnet_behind_the_maxpool_move_by_it(self):
        moved = convergence_plans.moved_to_images(self.fences(20, 4, 2))

        self.assertEqual([(fence.cut, fence.value) for fence in moved],
                         [(2, 502), (3, 503), (19, 519)])

    def test_of_a_resnet_on_both_sides_of_the_maxpool_become_one(self):
        moved = convergence_plans.moved_to_images(self.fences(3, 4))

        self.assertEqual([fence.cut for fence in moved], [3])

    def test_of_three_blocks_become_the_one_that_loses_most(self):
        def behind(block, error):
            cut = convergence_plans.FIRST_END + 26 * block
            return convergence_plans.Fence(cut, 2 * cut, "int8", error)

        moved = convergence_plans.moved_to_deep(
            [behind(24, 0.1), behind(25, 0.3), behind(26, 0.2)])

        self.assertEqual([(fence.cut, fence.error) for fence in moved],
                         [(convergence_plans.FIRST_END + 26 * 8, 0.3)])


class ByteRatio(unittest.TestCase):
    def test_is_of_both_directions_together(self):
        rows = [{"fences": [fence("forward", 100, 4.0),
                            fence("backward", 300, 2.0)]}]

        self.assertAlmostEqual(convergence.byte_ratio(rows), 1000 / 400)

    def test_spreads_a_basis_over_the_steps_that_use_it(self):
        rows = [{"fences": [fence("forward", 200, 5.0)]},
                {"fences": [fence("forward", 100, 10.0)]},
                {"loss": 1.0},
                {"fences": [fence("forward", 100, 10.0)]}]

        self.assertAlmostEqual(convergence.byte_ratio(rows), 1000 / 110)

    def test_of_a_run_without_fences_is_1(self):
        self.assertEqual(convergence.byte_ratio([{"loss": 1.0}]), 1)


class Families(unittest.TestCase):
    def test_are_known_of_every_codec_in_the_list(self):
        for cell in convergence_cells.cells():
            if convergence_report.is_codec({"label": cell.label}):
                convergence_report.family({"label": cell.label})


class Gaps(unittest.TestCase):
    def test_are_to_the_dense_run_of_the_same_seed(self):
        rows = convergence_report.with_gaps([
            result("dense", 2.0), result("dense", 3.0, seed=2),
            result("int4", 3.3, fences="all", seed=2)])

        self.assertAlmostEqual(rows[2]["gap"], 0.3)
        self.assertAlmostEqual(rows[2]["share"], 0.1)
        self.assertAlmostEqual(rows[2]["gap_off"], 0.4)

    def test_without_that_seed_are_to_the_mean_of_all(self):
        rows = convergence_report.with_gaps([
            result("dense", 2.0), result("dense", 3.0, seed=2),
            result("int4", 3.0, fences="all", seed=3)])

        self.assertAlmostEqual(rows[2]["gap"], 0.5)

    def test_of_a_task_without_a_dense_run_are_not_told(self):
        rows = convergence_report.with_gaps([result("int4", 3.0)])

        self.assertEqual(rows, [])

    def test_of_several_seeds_become_a_mean_and_a_spread(self):
        rows = convergence_report.merged(convergence_report.with_gaps([
            result("dense", 2.0), result("int4", 2.1, fences="all"),
            result("int4", 2.3, fences="all", seed=2)]))

        self.assertAlmostEqual(rows[1]["gap"], 0.2)
        self.assertAlmostEqual(rows[1]["spread"], 0.2)
        self.assertEqual(rows[1]["seeds"], [1, 2])


class Verdicts(unittest.TestCase):
    def rows(self, *results):
        return convergence_report.merged(
            convergence_report.with_gaps(list(results)))

    def test_fences_are_judged_by_the_control_of_the_last_of_them(self):
        rows = self.rows(
            result("dense", 2.0), result("cut after h.1", 2.19),
            result("cut after h.2", 2.5), result("int4", 2.1, fences="all"),
            result("int4", 2.1, fences="one"),
            result("adaptive", 2.1, fences="rule"))

        every, one = convergence_report.control_sentences("text", rows)

        self.assertIn("fences all, rule: the control (cut after h.2) is 25.0% "
                      "worse", every)
        self.assertNotIn("nothing", every)
        self.assertIn("fences one: the control (cut after h.1) is 9.5% worse",
                      one)
        self.assertIn("prove nothing", one)

    def test_images_are_judged_by_zeros(self):
        rows = convergence_report.merged(convergence_report.with_gaps([
            {**row, "task": "images"} for row in (
                result("dense", 2.0), result("zeros after layer4.1", 2.3),
                result("int4", 2.1, fences="plan"))]))

        [sentence] = convergence_report.control_sentences("images", rows)

        self.assertIn("the control (zeros after layer4.1) is 15.0% worse",
                      sentence)
        self.assertEqual(convergence_report.control_gap(rows, "plan"),
                         rows[1]["gap"])

    def test_fences_without_a_control_prove_nothing(self):
        rows = self.rows(result("dense", 2.0), result("cut after h.2", 2.5),
                         result("int4", 2.1, fences="one"))

        self.assertEqual(
            convergence_report.control_sentences("text", rows),
            ["text, fences one: no control has been run, so nothing is proven."])

    def test_one_fence_must_keep_half_the_gap_of_all(self):
        rows = self.rows(result("dense", 2.0),
                         result("int4", 2.015, fences="all", byte_ratio=8.1),
                         result("int4", 2.015, fences="one", byte_ratio=8.1))

        table = convergence_report.wanted_table({"text": rows})

        self.assertIn("kept: +0.8% at 8.1x, int4", table[2])
        self.assertIn("missed: +0.8% at 8.1x, int4", table[5])
        self.assertIn("not run", table[3])
        self.assertEqual(len(table), 8)

    def test_the_last_fence_alone_is_one_fence_too(self):
        rows = self.rows(result("dense", 2.0),
                         result("int4", 2.015, fences="last", byte_ratio=8.1))

        table = convergence_report.wanted_table({"text": rows})

        self.assertIn("| last | at most 0.5% at 8x | missed: +0.8%", table[2])
        self.assertEqual(len(table), 5)

    def test_what_was_only_run_far_beyond_a_ratio_says_nothing_of_it(self):
        rows = self.rows(result("dense", 2.0),
                         result("paper", 3.0, fences="all", byte_ratio=100))

        table = convergence_report.wanted_table({"text": rows})

        self.assertIn("not run", table[2])
        self.assertIn("missed", table[4])

    def test_a_better_codec_further_out_keeps_a_ratio(self):
        rows = self.rows(result("dense", 2.0),
                         result("int4", 2.1, fences="all", byte_ratio=7.6),
                         result("pca", 2.01, fences="all", byte_ratio=100))

        table = convergence_report.wanted_table({"text": rows})

        self.assertIn("kept: +0.5% at 100.0x, pca", table[2])


class TimeToALoss(unittest.TestCase):
    def table(self, *curve):
        rows = [{**result("dense", 1.0),
                 "train_curve": [(25, 4), (50, 3), (75, 2), (100, 1)]},
                {**result("int4", 2.0, fences="all", byte_ratio=7.6),
                 "train_curve": list(curve)}]
        return convergence_report.time_table(
            rows, {("text", "int4", "all"): (1.0, 4.0)})

    def test_is_told_in_steps_and_time_of_dense(self):
        table = self.table((25, 4), (50, 3.5), (75, 3), (100, 1))

        self.assertIn("| 1.50 | 0.38 | 1.00 | 0.25 |", table[2])

    def test_that_is_not_reached_has_none(self):
        table = self.table((25, 4), (50, 3), (75, 3), (100, 2))

        self.assertIn("| 1.00 | 0.25 | not reached |  |", table[2])


class Report(unittest.TestCase):
    def test_without_a_dense_run_has_no_gaps(self):
        said = io.StringIO()

        with tempfile.TemporaryDirectory() as folder, \
                contextlib.redirect_stdout(said):
            convergence_report.write([result("int4", 3.0)], [], ["text-dense"],
                                     {}, pathlib.Path(folder))
            report = (pathlib.Path(folder) / "convergence.md").read_text()

        self.assertIn("no gaps", said.getvalue())
        self.assertIn("`text-dense`", report)


if __name__ == "__main__":
    unittest.main()

"""Messages that come as late as the links of a testbed would bring them."""

import json
import statistics

import harness

STEPS = 3
SITES = ("--set", "topology.sites=[{name = 'lyon', ranks = 1}, "
                  "{name = 'osaka', ranks = 1}]",
         "--set", "plan.partition=equal_ops")
SLOW = (*SITES, "--set", f"train.steps={STEPS}",
        "--set", "topology.links=[{between = ['lyon', 'osaka'], "
                 "bandwidth = '400 kbit/s', latency = '30 ms'}]")
SHAPED = ("--set", "network.mode=shaped")


class ShapedTest(harness.ProgramTest):
    def lines(self, output, name="metrics.jsonl"):
        text = (self.folder / output / name).read_text()
        return [json.loads(line) for line in text.splitlines()]

    def step_times(self, output):
        return [line["step_s"] for line in self.lines(output)]

    def test_a_step_takes_what_the_simulator_says(self):
        waits = (*SLOW, "--set", "network.compute=waits",
                 "--set", "topology.device_kinds=[{name = 'slow', "
                          "fp32 = '200 Mflop/s'}]")
        planned = self.run_program("simulate", harness.TINY, *waits, "--json")
        step_s = json.loads(planned.stdout)["step_s"]

        for scale in (1, 2):
            self.train(f"at-{scale}", *waits, *SHAPED,
                       "--set", f"network.time_scale={scale}", ranks=2)

            lines = self.lines(f"at-{scale}")
            fastest = min(line["shaped_step_s"] for line in lines)
            self.assertAlmostEqual(lines[0]["shaped_step_s"],
                                   lines[0]["step_s"] / scale)
            # Nothing comes early; how late it is looked at depends on the
            # machine, and a decision crosses the link twice.
            self.assertGreater(fastest, 0.99 * step_s)
            self.assertLess(fastest, 1.25 * step_s + 1)

    def test_an_outage_changes_nothing_but_time(self):
        self.train("plain", *SLOW, ranks=2)
        self.train("shaped", *SLOW, *SHAPED,
                   "--set", "network.jitter=10 ms",
                   "--set", "network.changes="
                            "['lyon-osaka x0 at 1 s for 5 s']",
                   ranks=2)

        self.assert_same_run("plain", "shaped", STEPS)
        self.assertGreater(max(self.step_times("shaped")), 5)

    def test_one_line_says_for_what_all_ranks_wait(self):
        result = self.train(
            "run", *SHAPED, "--set", "train.steps=10",
            "--set", "topology.sites=[{name = 'lyon', ranks = 2}, "
                     "{name = 'osaka', ranks = 2}]",
            "--set", "plan.partition=equal_ops",
            "--set", "topology.links=[{between = ['lyon', 'osaka'], "
                     "bandwidth = '20 Mbit/s', latency = '50 ms'}]",
            "--set", "network.changes=['lyon-osaka x0 at 1 s for 5 s']",
            "--set", "run.long_wait=1 s", ranks=4)

        # After 1.25 s, and 2 s later; the next one would be 4 s later.
        sentences = result.sentences()
        self.assertIn(len(sentences), (1, 2), result)
        for sentence in sentences:
            self.assertRegex(
                sentence,
                r"^fusionllm: stage \d waits \d\.\d+ s for .+ (stage|rank) \d; "
                r"link (lyon-osaka|osaka-lyon) moved \d")

    def test_wrong_changes_are_refused(self):
        result = self.train("run", *SLOW, *SHAPED, "--set",
                            "network.changes=['lyon-graz x0 at 1 s']",
                            ranks=2, status=2)

        self.assertEqual(len(result.sentences()), 1, result)
        self.assertIn("'lyon-graz'", result.sentences()[0])

    def test_a_run_that_cannot_keep_up_is_refused(self):
        result = self.train(
            "run", *SITES, *SHAPED, "--set", "network.compute=paced",
            "--set", "model.width=64", "--set", "model.context=64",
            "--set", "train.steps=100000", "--set", "train.evaluate_every=0",
            "--set", "checkpoint.every=0",
            "--set", "topology.device_kinds=[{name = 'fast', "
                     "fp32 = '1000 Tflop/s'}]",
            ranks=2, status=2)

        self.assertIn("slow the testbed by [network] time_scale",
                      result.sentences()[0])

    def test_codecs_follow_a_slowed_link_before_it_is_tried_out_again(self):
        self.train(
            "run", *SITES, *SHAPED, "--set", "network.compute=paced",
            "--set", "model.width=32", "--set", "model.context=64",
            "--set", "model.tie_embeddings=false",
            "--set", "train.steps=12", "--set", "train.evaluate_every=0",
            "--set", "checkpoint.every=0",
            "--set", "topology.device_kinds=[{name = 'slow', "
                     "fp32 = '500 Mflop/s'}]",
            "--set", "topology.links=[{between = ['lyon', 'osaka'], "
                     "bandwidth = '20 Mbit/s', latency = '1 ms'}]",
            "--set", "network.changes=['lyon-osaka x0.02 at 1 s']",
            "--set", "compression.rule=adaptive",
            "--set", "compression.adapt=on",
            "--set", "compression.measure_every=50", ranks=2)

        changes = [change["step"]
                   for change in self.lines("run", "fences.jsonl")]
        times = self.step_times("run")
        # The only trial was before the first step.
        self.assertGreater(max(changes, default=0), 1, times)
        self.assertLess(times[-1], 0.9 * max(times[2:]), (times, changes))

    def test_codecs_follow_a_link_that_gets_ten_times_slower(self):
        interval = 2
        course = (*SITES, "--set", "model.width=32", "--set",
                  "model.context=64", "--set", "model.tie_embeddings=false",
                  "--set", "train.steps=20",
                  "--set", "train.evaluate_every=0",
                  "--set", "checkpoint.every=0")
        self.train("dense", *course, ranks=2)
        self.train(
            "run", *course, *SHAPED, "--set", "network.compute=paced",
            "--set", "topology.device_kinds=[{name = 'slow', "
                     "fp32 = '500 Mflop/s'}]",
            "--set", "topology.links=[{between = ['lyon', 'osaka'], "
                     "bandwidth = '5 Mbit/s', latency = '1 ms'}]",
            "--set", "network.changes=['lyon-osaka x0.1 at 2 s']",
            "--set", "compression.rule=adaptive",
            "--set", "compression.adapt=on",
            "--set", f"compression.measure_every={interval}",
            ranks=2, limit_s=120)

        slow_rate = 62500  # bytes/s
        rows = [row for row in self.lines("run") if row.get("fences")]
        rates = {row["step"]: row["fences"][0]["link_bytes_per_s"]
                 for row in rows}
        changes = [change["step"]
                   for change in self.lines("run", "fences.jsonl")]
        slowed = next(step for step, rate in rates.items()
                      if rate < 2 * slow_rate)
        before = [rate for step, rate in rates.items() if step < slowed]
        behind = [rate for step, rate in rates.items() if step >= slowed]
        for found, true_rate in ((before, 10 * slow_rate), (behind, slow_rate)):
            self.assertLess(abs(statistics.median(found) - true_rate),
                            0.3 * true_rate, rates)
        after = [step for step in changes if step >= slowed]
        self.assertTrue(after, (rates, changes))
        self.assertLessEqual(after[0] - slowed, 3 * interval, (rates, changes))
        # Of steps before which the link was tried out, which takes time, too,
        # and of the others. The first slow one has the codecs from before. Not
        # all of its delay goes: stronger codecs lose more, which has a price.
        times = self.step_times("run")
        tried = statistics.median(times[step - 1] for step in rates
                                  if step > after[0])
        others = [time for step, time in enumerate(times, 1)
                  if step not in rates]
        usual = statistics.median(others[:2])
        now = statistics.median(others[after[0] // interval:])
        gained = times[slowed - 1] - tried
        self.assertGreater(gained, 0.3 * (gained + now - usual),
                           (times, changes))
        dense = self.metrics("dense")[-1]["loss"]
        loss = self.metrics("run")[-1]["loss"]
        self.assertLess(abs(loss - dense), 0.01 * dense)


if __name__ == "__main__":
    harness.main()

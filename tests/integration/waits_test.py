"""A run that waits as long as its devices would take, and computes nothing."""

import json
import re

import harness

STEPS = 3
WAITS = ("--set", "network.compute=waits",
         "--set", f"train.steps={STEPS}",
         "--set", "plan.partition=equal_ops",
         "--set", "topology.sites=[{name = 'lyon', ranks = 2}, "
                  "{name = 'osaka', ranks = 2}]",
         "--set", "topology.device_kinds=[{name = 'slow', "
                  "fp32 = '200 Mflop/s'}]")


class WaitsTest(harness.ProgramTest):
    def lines(self, output):
        text = (self.folder / output / "metrics.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def test_it_takes_the_time_of_the_devices_and_writes_no_number(self):
        result = self.train("run", *WAITS, "--set", "network.mode=emulated",
                            ranks=4)

        lines = self.lines("run")
        self.assertEqual(len(lines), STEPS)
        for line in lines:
            self.assertNotIn("loss", line)
            self.assertNotIn("grad_norm", line)
        self.assertRegex(result.stdout, "Nothing is computed: .* no loss")
        self.assertNotRegex(result.stdout, r"loss \d")
        self.assertEqual(self.checkpoints("run"), [])
        # Some 90 ms: a device computes its share, whatever the links do.
        plan = self.run_program("simulate", harness.TINY, *WAITS, "--json")
        computes = max(stage["compute_s"]
                       for stage in json.loads(plan.stdout)["stages"])
        for line in lines:
            self.assertGreater(line["step_s"], computes)

    def test_every_communicator_carries_the_bytes_that_were_planned(self):
        for compression in ("none", "uniform"):
            result = self.train(
                compression, *WAITS,
                "--set", f"compression.rule={compression}",
                "--set", "compression.codec="
                         + ("int4" if compression == "uniform" else "''"),
                ranks=4)

            rows = re.findall(r"^(inside lyon|inside osaka|lyon - osaka) +"
                              r"(\d+) +(\d+) *$", result.stdout, re.MULTILINE)
            self.assertEqual(len(rows), 3, result)
            for _, sent, planned in rows:
                self.assertEqual(sent, planned)
                self.assertGreater(int(sent), 0)

    def test_what_needs_numbers_is_refused(self):
        for words, needle in (
                (("--resume",), "nothing can be resumed"),
                (("--set", "compression.adapt=on"), "adapt = \"on\""),
                (("--set", "trace.values=all"), "'values' in [trace]")):
            result = self.train("run", "--set", "network.compute=waits",
                                *words, status=2)

            self.assertEqual(len(result.sentences()), 1, result)
            self.assertIn(needle, result.sentences()[0])


if __name__ == "__main__":
    harness.main()

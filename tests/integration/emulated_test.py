"""Real training on this machine, timed as if on a testbed across the world."""

import json
import re

import harness

STEPS = 4
SHORT = ("--set", f"train.steps={STEPS}")
# Without the partition OP-Fence would leave the far site out.
TESTBED = ("--set", "network.mode=emulated",
           "--set", "plan.partition=equal_ops",
           *SHORT,
           "--set", "topology.sites=[{name = 'lyon', ranks = 2}, "
                    "{name = 'osaka', ranks = 2}]",
           "--set", "topology.links=[{between = ['lyon', 'osaka'], "
                    "bandwidth = '8 Mbit/s', latency = '120 ms'}]")


class EmulatedTest(harness.ProgramTest):
    def clock(self, output):
        """(emulated_step_s, emulated_s) of every step, as they are written."""
        text = (self.folder / output / "metrics.jsonl").read_text()
        lines = [json.loads(line) for line in text.splitlines()]
        return [(line["emulated_step_s"], line["emulated_s"])
                for line in lines]

    def test_the_same_run_twice_gives_the_same_times_to_the_bit(self):
        first = self.train("first", *TESTBED, ranks=4)
        self.train("second", *TESTBED, ranks=4)

        clock = self.clock("first")
        self.assertEqual(clock, self.clock("second"))
        self.assertEqual(len(clock), STEPS)
        total = 0
        for step_s, clock_s in clock:
            # Activations and gradients cross the long link, one after another.
            self.assertGreater(step_s, 2 * 0.12)
            total += step_s
            self.assertEqual(clock_s, total)
        self.assertRegex(first.stdout, r"step 4/4 .* emulated \S+ \S+ a step")

    def test_the_clock_goes_on_after_a_resume(self):
        self.train("whole", *TESTBED, ranks=4)
        self.train("parts", *TESTBED, "--set", "train.steps=2", ranks=4)

        self.train("parts", "--resume", *TESTBED, ranks=4)

        self.assertEqual(self.clock("parts"), self.clock("whole"))

    def test_emulation_changes_no_number_and_a_plain_run_has_no_clock(self):
        self.train("emulated", *TESTBED, ranks=4)

        self.train("plain", *SHORT, ranks=4)

        self.assert_same_run("emulated", "plain", STEPS)
        self.assertNotIn(
            "emulated",
            (self.folder / "plain" / "metrics.jsonl").read_text())

    def test_every_communicator_carries_the_bytes_that_were_planned(self):
        result = self.train("run", *TESTBED, ranks=4)

        rows = re.findall(r"^(inside lyon|inside osaka|lyon - osaka) +"
                          r"(\d+) +(\d+) *$", result.stdout, re.MULTILINE)
        self.assertEqual([name for name, _, _ in rows],
                         ["inside lyon", "lyon - osaka", "inside osaka"])
        for _, sent, planned in rows:
            self.assertEqual(sent, planned)
            self.assertGreater(int(sent), 0)


if __name__ == "__main__":
    harness.main()

"""A number that is not finite costs the step, not the run."""

import json

import harness

DIVERGING = ("--set", "train.optimizer=sgd", "--set", "train.clip_norm=0",
             "--set", "train.learning_rate=1e30", "--set",
             "train.warmup_steps=0")


class NonFiniteTest(harness.ProgramTest):
    def test_steps_with_non_finite_numbers_are_skipped_and_named(self):
        result = self.train("run", *DIVERGING, ranks=3)

        lines = [json.loads(line) for line in
                 (self.folder / "run/metrics.jsonl").read_text().splitlines()]
        skipped = [line for line in lines if "skipped" in line]
        self.assertEqual(len(lines), 12)
        self.assertTrue(skipped)
        for line in skipped:
            self.assertRegex(line["skipped"], r"\w")
            self.assertTrue(line["loss"] is None or line["grad_norm"] is None,
                            line)
        self.assertIn("update skipped", result.stdout)
        self.assertIn(f"{len(skipped)} of 12 steps changed nothing",
                      result.stdout)

    def test_skipped_steps_leave_the_parameters_alone(self):
        self.train("run", *DIVERGING)

        skipped = [line["step"] for line in self.metrics("run")
                   if "skipped" in line]
        first = skipped[0]
        self.assertEqual(skipped, list(range(first, 13)))
        self.train("before", *DIVERGING, "--set", f"train.steps={first - 1}")
        self.assertEqual(self.tensors("run", 12),
                         self.tensors("before", first - 1))


if __name__ == "__main__":
    harness.main()

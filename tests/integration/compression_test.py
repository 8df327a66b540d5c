"""Compressed runs: the same numbers on any ranks, before and after a stop."""

import json
import re

import harness

CODECS = ("int4/int3s", "subspace(4,int4)", "top_k(5,int4)+feedback")


class CompressionTest(harness.ProgramTest):
    def make_fences(self, codec, ranks=4):
        """A plan whose fences other runs take, whatever their stages."""
        plan = self.folder / "fences.txt"
        plan.write_text(self.run_program(
            "plan", harness.TINY, "--np", ranks,
            "--set", "compression.rule=uniform",
            "--set", f'compression.codec="{codec}"').stdout)
        self.assertIn("\nfence ", plan.read_text())
        return ("--set", f'compression.fences="{plan}"',
                "--set", "compression.basis_every=5",
                "--set", "compression.measure_every=4")

    def write_changes(self, codecs):
        """A log to replay: from each step on all fences have its codec."""
        places = re.findall(r"^fence (\d+) value (\d+)",
                            (self.folder / "fences.txt").read_text(), re.M)
        log = self.folder / "changes.jsonl"
        log.write_text("".join(
            json.dumps({"step": step, "version": number, "fences": [
                {"cut": int(cut), "value": int(value), "codec": codec}
                for cut, value in places]}) + "\n"
            for number, (step, codec) in enumerate(codecs.items(), 1)))
        return log

    def records(self, output):
        text = (self.folder / output / "metrics.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def test_fences_do_the_same_wherever_the_stages_end(self):
        for codec in CODECS:
            with self.subTest(codec=codec):
                fences = self.make_fences(codec)
                self.train("one", *fences, "--overwrite")
                self.train("three", *fences, "--overwrite", ranks=3)
                self.train("five", *fences, "--overwrite", ranks=5)

                self.assert_same_run("one", "three", 12)
                self.assert_same_run("one", "five", 12)

    def test_a_run_goes_on_with_the_fences_it_had(self):
        for codec in CODECS:
            with self.subTest(codec=codec):
                fences = self.make_fences(codec)
                self.train("whole", *fences, "--overwrite", ranks=2)
                self.train("parts", *fences, "--overwrite",
                           "--set", "train.steps=4", ranks=4)
                # Not asked for again: they are in the checkpoint.
                other = self.train("parts", "--resume",
                                   "--set", "train.steps=8",
                                   "--set", "compression.basis_every=5",
                                   ranks=3)
                self.assertIn("a run that is resumed keeps its fences",
                              other.stdout)
                self.train("parts", "--resume",
                           "--set", "compression.basis_every=5")

                self.assert_same_run("whole", "parts", 12)

    def test_plans_say_what_errors_are_taken_to_cost(self):
        command = ("plan", harness.TINY, "--np", 3,
                   "--set", "compression.rule=uniform",
                   "--set", "compression.error_price=5",
                   "--set", "compression.codec=int8/int3s")
        plan = json.loads(self.run_program(*command, "--json").stdout)
        # Gradients that are rounded without bias count 0.15 of their error.
        squares = sum(fence["forward_error"] ** 2
                      + (0.15 * fence["backward_error"]) ** 2
                      for fence in plan["fences"])
        self.assertGreater(squares, 0)
        self.assertAlmostEqual(plan["more_steps_for_errors"], 5 * squares)
        self.assertIn(f"cost {100 * 5 * squares:.2g}% more steps to the same",
                      self.run_program(*command).stdout)
        dense = self.run_program("plan", harness.TINY, "--np", 3).stdout
        self.assertNotIn("more steps", dense)

    def test_every_byte_between_ranks_was_planned(self):
        for codec in ("int8", "top_k(10,int4)", "subspace(4,int4)"):
            with self.subTest(codec=codec):
                result = self.train(
                    "run", "--overwrite", "--set", "compression.rule=uniform",
                    "--set", f'compression.codec="{codec}"',
                    "--set", "compression.basis_every=5", ranks=3)

                rows = [line.split() for line in result.stdout.splitlines()
                        if line.startswith("inside ")]
                self.assertTrue(rows, result)
                for row in rows:
                    self.assertEqual(row[-2], row[-1], result)

    def test_a_run_says_when_its_errors_are_not_those_expected(self):
        # A model that has learnt nothing is in no few directions.
        fences = self.make_fences("subspace(4,graded/int4s)")
        command = ("run", *fences, "--overwrite", "--set", "train.steps=2")
        line = re.search(r"^errors  those measured cost (.*)$",
                         self.train(*command, ranks=2).stdout, re.MULTILINE)[1]
        self.assertIn('rule = "adaptive" with adapt = "on" in [compression] '
                      "chooses codecs by measured ones", line)

        free = self.train(*command, "--set", "compression.error_price=0",
                          ranks=2)
        self.assertIn("fences, as last measured", free.stdout)
        self.assertNotIn("errors  ", free.stdout)

    def test_a_run_says_what_its_fences_do(self):
        result = self.train(
            "run", *self.make_fences("int8"),
            "--set", "compression.evaluate=both", ranks=2)

        self.assertIn("fences, as last measured", result.stdout)
        self.assertIn("errors  those measured cost 0.", result.stdout)
        self.assertNotIn("adapt =", result.stdout)
        lines = self.records("run")
        measured = [line for line in lines if "fences" in line]
        self.assertEqual([line["step"] for line in measured], [1, 5, 9])
        for fence in measured[0]["fences"]:
            self.assertEqual(fence["codec"], "int8")
            self.assertGreater(fence["byte_ratio"], 3)
            self.assertLess(fence["error"], 0.02)
            self.assertGreater(fence["cosine"], 0.999)
            self.assertGreater(fence["bytes"], 0)
        # The last two follow evaluations, which are no part of a step.
        for line in measured[1:]:
            self.assertEqual([fence["bytes"] for fence in line["fences"]],
                             [fence["bytes"] for fence in measured[0]["fences"]])
        directions = {fence["direction"] for fence in measured[0]["fences"]}
        self.assertEqual(directions, {"forward", "backward"})
        evaluated = [line for line in lines if "validation_loss" in line]
        for line in evaluated:
            self.assertNotEqual(line["validation_loss"],
                                line["validation_loss_codec_off"])
            self.assertAlmostEqual(line["validation_loss"],
                                   line["validation_loss_codec_off"], places=2)

    def test_samples_go_through_the_codecs_unless_told_otherwise(self):
        self.train("run", *self.make_fences("top_k(20,int4)"),
                   "--set", "train.learning_rate=0.05")
        words = ("generate", self.folder / "run", "--prompt", "a",
                 "--tokens", "40", "--temperature", "0")

        usual = self.run_program(*words).stdout
        self.assertEqual(usual, self.run_program(*words, "--codec", "on").stdout)
        self.assertNotEqual(
            usual, self.run_program(*words, "--codec", "off").stdout)

    def test_samples_go_through_a_graded_basis(self):
        """Which was made for the rows of a whole micro-batch."""
        self.train("run", *self.make_fences("subspace(2,graded/int4s)"))

        self.run_program("generate", self.folder / "run", "--tokens", "3")

    def test_changes_of_codecs_are_made_again_at_the_same_steps(self):
        fences = self.make_fences("int8")
        log = self.write_changes({3: "subspace(4,int4)", 6: "subspace(4,int8)",
                                  8: "top_k(5,int4)+feedback"})
        replay = (*fences, "--set", "compression.rule=uniform",
                  "--set", "compression.codec=int8",
                  "--set", "compression.adapt=replay",
                  "--set", f'compression.replay="{log}"',
                  "--set", "compression.measure_every=1")

        self.train("whole", *replay, ranks=2)
        self.train("one", *replay)
        self.train("parts", *replay, "--set", "train.steps=5", ranks=4)
        self.train("parts", *replay, "--resume", "--set", "train.steps=8",
                   ranks=3)
        self.train("parts", *replay, "--resume")

        self.assert_same_run("whole", "one", 12)
        self.assert_same_run("whole", "parts", 12)
        self.assertEqual(
            [line["fences"][0]["codec"] for line in self.records("whole")],
            ["int8"] * 3 + ["subspace of 4, int4"] * 3
            + ["subspace of 4, int8"] * 2 + ["top-k of 102, int4"] * 4)
        for run in ("one", "parts"):
            self.assertEqual(
                (self.folder / run / "fences.jsonl").read_text(),
                log.read_text().replace(": ", ":").replace(", ", ","))

    def test_subspaces_of_other_grades_follow_one_another(self):
        finer, coarser = "subspace(4,graded6/int4s)", "subspace(4,graded/int3s)"
        fences = self.make_fences(finer)
        log = self.write_changes({3: coarser, 4: finer})
        replay = (*fences, "--set", "compression.rule=uniform",
                  "--set", f'compression.codec="{finer}"',
                  "--set", "compression.adapt=replay",
                  "--set", f'compression.replay="{log}"')

        self.train("whole", *replay, "--set", "train.steps=8", ranks=2)
        # The change is the first that each does after it was resumed.
        self.train("parts", *replay, "--set", "train.steps=3", ranks=3)
        self.train("parts", *replay, "--resume", "--set", "train.steps=4")
        self.train("parts", *replay, "--resume", "--set", "train.steps=8",
                   ranks=2)

        self.assert_same_run("whole", "parts", 8)

    def test_a_run_that_adapts_on_emulated_links_gives_the_same_twice(self):
        words = ("--set", 'topology.sites=[{name = "a", ranks = 1}, '
                 '{name = "b", ranks = 1}]',
                 "--set", 'topology.default_link={bandwidth = "32 Mbit/s", '
                 'latency = "1 ms"}',
                 "--set", "network.mode=emulated",
                 "--set", "plan.partition=equal_ops",
                 "--set", "compression.rule=adaptive",
                 "--set", "compression.adapt=on",
                 "--set", "compression.measure_every=3")

        self.train("first", *words, ranks=2)
        self.train("second", *words, ranks=2)

        self.assert_same_run("first", "second", 12)
        times = [[line["emulated_s"] for line in self.records(run)]
                 for run in ("first", "second")]
        self.assertEqual(*times)

    def test_fences_of_another_model_are_refused(self):
        fences = self.make_fences("int8")

        result = self.train("run", *fences, "--set", "model.layers=3",
                            status=2)

        self.assertEqual(len(result.sentences()), 1, result)
        self.assertIn("this model is graph", result.sentences()[0])


if __name__ == "__main__":
    harness.main()

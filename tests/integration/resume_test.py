"""Stop and resume equals no stop, bitwise, on any number of ranks (law 2)."""

import shutil

import harness


class ResumeTest(harness.ProgramTest):
    def test_a_run_that_stops_and_resumes_on_other_ranks_equals_one_run(self):
        self.train("whole", ranks=4)

        self.train("parts", "--set", "train.steps=4", ranks=4)
        self.train("parts", "--resume", "--set", "train.steps=8", ranks=2)
        last = self.train("parts", "--resume", ranks=7)

        self.assert_same_run("whole", "parts", 12)
        self.assertIn("resuming after step 8", last.stdout)
        self.assertNotIn("keeps its fences", last.stdout)

    def test_metrics_after_the_checkpoints_step_are_dropped(self):
        self.train("whole")
        self.train("cut", "--set", "train.steps=7")
        shutil.rmtree(self.checkpoint("cut", 7))
        with open(self.folder / "cut/metrics.jsonl", "a") as metrics:
            metrics.write('{"step":8,"loss":5.4')  # as a crash leaves it

        self.train("cut", "--resume")

        self.assert_same_run("whole", "cut", 12)

    def test_resume_without_a_checkpoint_starts_anew(self):
        self.train("whole", "--set", "train.steps=2")
        self.train("again", "--set", "train.steps=1")
        shutil.rmtree(self.checkpoint("again", 1))

        self.train("again", "--resume", "--set", "train.steps=2", ranks=2)
        self.train("new", "--resume", "--set", "train.steps=2")

        self.assert_same_run("whole", "again", 2)
        self.assert_same_run("whole", "new", 2)

    def test_micro_batches_left_open_are_those_of_before(self):
        # One rank alone would take another number.
        left_open = ("--set", "train.micro_batches=0",
                     "--set", "train.steps=4")
        self.train("whole", *left_open, ranks=2)
        self.train("parts", *left_open, "--set", "train.steps=2", ranks=2)
        self.train("parts", *left_open, "--resume")

        self.assert_same_run("whole", "parts", 4)

    def test_another_number_of_micro_batches_is_worth_a_note(self):
        self.train("run", "--set", "train.steps=1")

        other = self.train("run", "--resume", "--set", "train.steps=2",
                           "--set", "train.micro_batches=2")

        self.assertIn("note: the checkpoint was made with 4 micro-batches a "
                      "step, this run makes 2: ", other.stdout)

    def test_resuming_a_finished_run_changes_no_number(self):
        self.train("run", "--set", "train.steps=2")
        metrics, tensors = self.metrics("run"), self.tensors("run", 2)

        self.train("run", "--resume", "--set", "train.steps=2")

        self.assertEqual(self.metrics("run"), metrics)
        self.assertEqual(self.tensors("run", 2), tensors)

    def test_overwrite_leaves_nothing_of_the_run_before(self):
        self.train("whole", "--set", "train.steps=2")
        self.train("run", "--set", "train.steps=5", "--set", "run.seed=1")

        self.train("run", "--overwrite", "--set", "train.steps=2")

        self.assert_same_run("whole", "run", 2)
        self.assertEqual(self.checkpoints("run"), [2])


class RefusedResumeTest(harness.ProgramTest):
    def setUp(self):
        super().setUp()
        self.text = self.folder / "text.txt"
        self.text.write_text("a text that is long enough to be learned\n" * 40)
        self.of_text = ("--set", 'data.kind="text"', "--set",
                        f'data.path="{self.text}"', "--set", "train.steps=4")
        self.train("run", *self.of_text, "--set", "train.steps=2")

    def check_refusal(self, words, ranks, reasons):
        before = harness.snapshot(self.folder / "run")

        refused = self.train("run", "--resume", *self.of_text, *words,
                             ranks=ranks, status=2)

        self.assertEqual(len(refused.sentences()), 1, refused)
        for reason in reasons:
            self.assertIn(reason, refused.sentences()[0])
        self.assertEqual(harness.snapshot(self.folder / "run"), before)

    def test_another_run_than_the_checkpoints_is_refused(self):
        for setting, ranks, reasons in (
                ("run.seed=8", 3, ["seed 7", "is 8", "--overwrite"]),
                ("train.batch=16", 0, ["16 samples in 2 steps", "same batch"]),
                ("train.optimizer=sgd", 0, ["adamw", "sgd", "--overwrite"]),
                ("model.layers=1", 0, ["layers = 2", "same model"]),
                ("model.heads=4", 0, ["heads = 2", "same model"])):
            with self.subTest(setting=setting):
                self.check_refusal(["--set", setting], ranks, reasons)

    def test_other_data_than_the_checkpoints_is_refused(self):
        self.text.write_text("another text that is of another length\n" * 40)

        for ranks in (0, 3):
            with self.subTest(ranks=ranks):
                self.check_refusal([], ranks, ["data", "restore the files"])


if __name__ == "__main__":
    harness.main()

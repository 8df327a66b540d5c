"""The commands besides train: no mpirun, no MPI, the same answer twice."""

import json
import tomllib

import harness


class CommandsTest(harness.ProgramTest):
    def test_plan_prints_json(self):
        plan = json.loads(self.run_program(
            "plan", harness.TINY, "--np", "3", "--json").stdout)

        self.assertEqual(len(plan["stages"]), 3)
        self.assertEqual([stage["devices"] for stage in plan["stages"]],
                         [[0], [1], [2]])
        self.assertEqual(plan["groups"],
                         [{"name": "local", "devices": [0, 1, 2]}])
        self.assertEqual(plan["stages"][-1]["send_bytes"], 0)

    def test_plan_names_links_that_were_measured_badly(self):
        for within, line in (("0.15", ""), ("0.31", "site0-site1 within 31%")):
            plan = self.run_program(
                "plan", harness.TINY, "--set", "plan.partition=equal_ops",
                "--set", "topology.sites=[{name = 'site0', ranks = 1}, "
                "{name = 'site1', ranks = 1}]",
                "--set", "topology.default_link={bandwidth = '1 Gbit/s', "
                f"latency = '1 ms', within = {within}}}").stdout

            self.assertEqual("measured badly" in plan, bool(line), plan)
            self.assertIn(line, plan)

    def test_validate_tells_what_the_input_is(self):
        result = self.run_program("validate", harness.TINY)

        self.assertIn("is a good input", result.stdout)

    def test_they_answer_once_under_mpirun_too(self):
        result = self.run_program("validate", harness.TINY, ranks=3)

        self.assertEqual(result.stdout.count("is a good input"), 1)

    def test_the_default_input_validates_once_it_has_data(self):
        default = self.folder / "default.toml"
        default.write_text(self.run_program("--dump-default").stdout)
        tomllib.loads(default.read_text())
        (self.folder / "text.txt").write_text("text\n" * 1000)

        self.run_program("validate", default, "--set", 'data.path="text.txt"')

    def test_the_resolved_input_of_a_run_gives_the_same_run(self):
        self.train("run", "--set", "train.steps=2")
        self.train("again", source=self.folder / "run/input.toml")

        self.assert_same_run("run", "again", 2)

    def test_version_names_the_libraries(self):
        result = self.run_program("--version")

        for name in ("FusionLLM", "LibTorch", "BLAS", "Kokkos", "HDF5", "MPI"):
            self.assertRegex(result.stdout, rf"(?m)^{name} +\S")

    def test_tokenized_text_is_trained_on_like_the_text(self):
        text = self.folder / "text.txt"
        text.write_text("It is written, and it is read.\n" * 20)
        result = self.run_program("tokenize", text, "-o",
                                  self.folder / "text.bin",
                                  "--tokenizer", "bytes")
        self.assertIn("620 tokens of 1 files", result.stdout)

        for kind, file in (("text", "text.txt"), ("tokens", "text.bin")):
            self.train(kind, "--set", "train.steps=2",
                       "--set", f"data.kind={kind}",
                       "--set", f"data.path={self.folder / file}",
                       "--set", "data.validation_fraction=0.5")

        self.assert_same_run("text", "tokens", 2)

    def test_help_names_the_commands(self):
        result = self.run_program("--help")

        for name in ("train", "plan", "validate", "generate", "tokenize"):
            self.assertIn(name, result.stdout)

    def test_no_command_besides_train_initialises_mpi(self):
        # MPI_Init makes this file; with a name that cannot be, it fails.
        self.train("run", "--set", "train.steps=1")
        broken = {"OMPI_MCA_btl": "none", "OMPI_MCA_pml": "none"}
        self.assertNotEqual(
            self.start(harness.TINY, "--output", self.folder / "other",
                       environment=broken).finish().status, 0)

        for words in (["--version"], ["--dump-default"], ["--help"],
                      ["validate", harness.TINY], ["plan", harness.TINY],
                      ["generate", self.folder / "run", "--tokens", "1"]):
            with self.subTest(words):
                result = self.start(*words, environment=broken).finish()
                self.assertEqual(result.status, 0, result)


class GenerateTest(harness.ProgramTest):
    def check_is_refused(self, run, *words):
        result = self.run_program("generate", self.folder / run, status=2)

        self.assertEqual(result.stdout, "", result)
        self.assertEqual(result.stderr.count("\n"), 1, result)
        for word in ("no language model", *words):
            self.assertIn(word, result.stderr)

    def test_only_a_language_model_continues_a_text(self):
        self.train("images", "--set", "train.steps=1",
                   source=harness.INPUTS / "images.toml")
        self.check_is_refused("images", "takes other inputs")

    def test_a_prompt_of_tokens_that_the_model_lacks_is_refused(self):
        self.train("run", "--set", "train.steps=1",
                   "--set", "model.vocabulary=50")
        result = self.run_program("generate", self.folder / "run",
                                  "--prompt", "z", status=2)

        self.assertIn("has token 122", result.stderr)

    def generate(self, *words):
        return self.run_program("generate", self.folder / "run",
                                "--tokens", "24", *words).stdout

    def test_a_text_follows_from_the_seed(self):
        self.train("run", "--set", "train.steps=2", ranks=2)

        prompted = self.generate("--prompt", "A", "--seed", "3")
        greedy = self.generate("--prompt", "A", "--temperature", "0")

        self.assertTrue(prompted.startswith("A"))
        self.assertEqual(self.generate("--prompt", "A", "--seed", "3"),
                         prompted)
        self.assertNotEqual(self.generate("--prompt", "A", "--seed", "4"),
                            prompted)
        self.assertEqual(self.generate("--prompt", "A", "--temperature", "0",
                                       "--seed", "9"), greedy)
        # Longer than the context of 16: its end counts.
        self.assertEqual(
            self.generate("--prompt", "x" * 30 + "y" * 16,
                          "--temperature", "0").removeprefix("x" * 30),
            self.generate("--prompt", "y" * 16, "--temperature", "0"))


if __name__ == "__main__":
    harness.main()

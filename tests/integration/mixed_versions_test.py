"""Several programs in one run, each with its own LibTorch.

The program twice; and with another one, if that is given
(-D FUSIONLLM_TEST_OTHER_PROGRAM=...).
"""

import json
import re
import zipfile
from pathlib import Path

import harness

ARCHIVE = Path(__file__).resolve().parent.parent / "importers/archives/gpt.pt2"

# In the graph of ARCHIVE in place of its activation, which reads one tensor.
SINCE_2 = "_lazy_clone"  # what 1.13 lacks; it does what this does:
SAME = "clone"
UNKNOWN = "no_such_operator"


def write_archive(path, operator):
    """ARCHIVE with another operator in place of its activation."""
    with zipfile.ZipFile(ARCHIVE) as source, zipfile.ZipFile(path, "w") as out:
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename.endswith("serialized_exported_program.json"):
                data = replace_activation(data, operator)
            out.writestr(entry, data)


def replace_activation(data, operator):
    program = json.loads(data)
    count = 0
    for node in program["graph_module"]["graph"]["nodes"]:
        if node["target"] == "torch.ops.aten.gelu.default":
            node["target"] = f"torch.ops.aten.{operator}.default"
            node["inputs"] = node["inputs"][:1]
            count += 1
    assert count > 0
    return json.dumps(program).encode()


class MixedTest(harness.ProgramTest):
    def write_input(self, name, operator=None, archive=ARCHIVE):
        """An input of the run `name`, of a model that is a file."""
        if operator:
            archive = self.folder / f"{operator}.pt2"
            write_archive(archive, operator)
        return self.write_model_input(
            name, archive.suffix.removeprefix("."), archive, batch=8, steps=5)

    def libtorch(self, program):
        text = self.run_program("--version", program=program).stdout
        return re.search(r"LibTorch +(\S+)", text)[1]

    def assert_close(self, one, other):
        """Losses of all steps to 1e-5."""
        ours, theirs = self.metrics(one), self.metrics(other)
        self.assertEqual(len(ours), len(theirs))
        for a, b in zip(ours, theirs):
            self.assertAlmostEqual(a["loss"], b["loss"], delta=1e-5)
            self.assertLess(abs(a["grad_norm"] - b["grad_norm"]),
                            1e-4 * a["grad_norm"])


class SameProgramTest(MixedTest):
    def test_an_operator_that_ranks_lack_is_computed_by_its_parts(self):
        model = self.folder / "attention.h5"
        harness.write_attention_model(model)
        self.run_program(self.write_input("one", archive=model))
        result = self.run_program(
            self.write_input("twice", archive=model), ranks=2,
            others=[(harness.program(), 2)])

        self.assert_same_run("one", "twice", 5)
        if self.libtorch(harness.program()).startswith("1."):
            self.assertIn("aten::scaled_dot_product_attention is computed by "
                          "its parts: LibTorch 1.", result.stdout)
            self.assertIn("aten::rms_norm is computed by its parts",
                          result.stdout)

    def test_one_program_given_twice_gives_the_numbers_of_one_process(self):
        self.train("one")
        self.train("twice", ranks=1, others=[(harness.program(), 2)])

        self.assert_same_run("one", "twice", 12)

    def test_an_operator_that_no_rank_has_is_refused_by_name(self):
        result = self.run_program(
            self.write_input("none", UNKNOWN), ranks=2,
            others=[(harness.program(), 1)], status=2)

        self.assertEqual(len(result.sentences()), 1, result)
        self.assertRegex(
            result.sentences()[0],
            r"op 'h\.0\..*' calls aten::no_such_operator, which no rank can "
            r"run: LibTorch \S+ \(ranks 0 to 2\) does not have it")
        self.assertFalse((self.folder / "none").exists())


class TwoProgramsTest(MixedTest):
    def setUp(self):
        super().setUp()
        if not harness.other_program():
            self.skipTest("SKIPPED: no program with another LibTorch was given "
                          "(-D FUSIONLLM_TEST_OTHER_PROGRAM=...)")
        programs = [harness.program(), harness.other_program()]
        self.old, self.new = sorted(
            programs, key=lambda program: [
                int(number) for number in
                re.findall(r"\d+", self.libtorch(program))[:2]])

    def mixed(self, *words, first, second, ranks=(2, 2), **expected):
        return self.run_program(*words, ranks=ranks[0], program=first,
                                others=[(second, ranks[1])], **expected)

    def test_a_built_in_model_gives_the_losses_of_one_version(self):
        for name, first, second in (("old-new", self.old, self.new),
                                    ("new-old", self.new, self.old)):
            with self.subTest(name):
                self.train(name + "-one", ranks=2, program=first)
                result = self.mixed(
                    harness.TINY, "--output", self.folder / name,
                    first=first, second=second)

                self.assert_close(name + "-one", name)
                self.assertIn(self.libtorch(self.old), result.stdout)
                self.assertIn(self.libtorch(self.new), result.stdout)

    def test_dropout_is_the_same_in_both(self):
        words = ("--set", "model.dropout=0.2")
        self.train("one", *words, ranks=1, program=self.old)
        self.mixed(harness.TINY, *words, "--output", self.folder / "mixed",
                   first=self.new, second=self.old, ranks=(2, 1))

        self.assert_close("one", "mixed")

    def test_an_imported_model_gives_the_losses_of_one_version(self):
        self.run_program(self.write_input("one"), ranks=2, program=self.old)
        for name, first, second in (("old-new", self.old, self.new),
                                    ("new-old", self.new, self.old)):
            with self.subTest(name):
                self.mixed(self.write_input(name), first=first, second=second)

                self.assert_close("one", name)

    def test_parts_give_the_losses_of_the_operator(self):
        model = self.folder / "attention.h5"
        harness.write_attention_model(model)
        self.run_program(self.write_input("one", archive=model), ranks=2,
                         program=self.new)
        for name, first, second in (("old-new", self.old, self.new),
                                    ("new-old", self.new, self.old)):
            with self.subTest(name):
                self.mixed(self.write_input(name, archive=model),
                           "--set", "train.steps=3",
                           first=first, second=second)
                # Ranks that all have the operator go on.
                self.run_program(self.write_input(name, archive=model),
                                 "--resume", ranks=1, program=self.new)

                self.assert_close("one", name)

    def test_an_operator_that_one_side_has_is_placed_there(self):
        if not (self.libtorch(self.old) < "2" <= self.libtorch(self.new)):
            self.skipTest("SKIPPED: needs LibTorch 1.13 and 2.2 or later")
        self.run_program(self.write_input("one", SAME), ranks=2,
                         program=self.old)
        for name, first, second in (("old-new", self.old, self.new),
                                    ("new-old", self.new, self.old)):
            with self.subTest(name):
                result = self.mixed(self.write_input(name, SINCE_2),
                                    first=first, second=second)

                self.assert_close("one", name)
                self.assertIn("aten::_lazy_clone is placed where it can be "
                              "run: LibTorch 1.13", result.stdout)

    def test_a_blind_partition_that_would_place_it_wrongly_is_refused(self):
        if not (self.libtorch(self.old) < "2" <= self.libtorch(self.new)):
            self.skipTest("SKIPPED: needs LibTorch 1.13 and 2.2 or later")
        result = self.mixed(
            self.write_input("blind", SINCE_2),
            "--set", "plan.partition=equal_ops",
            first=self.new, second=self.old, ranks=(1, 2), status=2)

        self.assertEqual(len(result.sentences()), 1, result)
        self.assertRegex(result.sentences()[0],
                         r"calls aten::_lazy_clone: LibTorch 1\.13\S+ cannot "
                         r"run it there, only LibTorch \S+ \(local-0\) can")

    def test_an_operator_that_neither_has_is_refused_by_name(self):
        result = self.mixed(self.write_input("none", UNKNOWN),
                            first=self.old, second=self.new, status=2)

        self.assertEqual(len(result.sentences()), 1, result)
        self.assertIn("aten::no_such_operator, which no rank can run",
                      result.sentences()[0])


if __name__ == "__main__":
    harness.main()

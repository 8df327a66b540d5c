"""Bad input: one sentence, exit status 2, nothing made (law 7)."""

import pathlib
import random
import re
import zipfile

import harness

ARCHIVES = pathlib.Path(__file__).resolve().parent.parent / "importers/archives"


class BadInputTest(harness.ProgramTest):
    """
    Each `check` starts the program, on `ranks` if they are not 0, and wants
    one sentence that matches every pattern.
    """

    def setUp(self):
        super().setUp()
        self.input = self.folder / "input.toml"
        self.input.write_text(harness.TINY.read_text())
        self.out = self.folder / "out"

    def check(self, *words, patterns, ranks=0):
        before = harness.snapshot(self.folder)

        result = self.run_program(*words, ranks=ranks, status=2)

        self.assertEqual(len(result.sentences()), 1, result)
        if not ranks:
            self.assertEqual(result.stderr.count("\n"), 1, result)
        self.assertEqual(result.stdout, "", result)
        for pattern in patterns:
            self.assertRegex(result.sentences()[0], pattern)
        self.assertEqual(harness.snapshot(self.folder), before)

    def check_edit(self, old, new, *patterns, command="validate", ranks=0):
        """A mistake in the input file is named by its line."""
        text = harness.TINY.read_text()
        self.assertEqual(text.count(old), 1)
        line = text[:text.index(old)].count("\n") + 1
        self.input.write_text(text.replace(old, new))
        self.check(command, self.input, ranks=ranks,
                   patterns=[rf"{re.escape(str(self.input))}:{line}:",
                             *patterns])

    def test_a_mistake_in_the_file_is_named_by_line_with_advice(self):
        for old, new, *patterns in (
                ("width = 16", "widht = 16", "widht", "width"),
                ("[model]", "[modle]", "modle", "model"),
                ("layers = 2", 'layers = "two"', "layers", "integer"),
                ("layers = 2", "layers = 2.5", "layers", "integer"),
                ("layers = 2", "layers = 0", "layers", "between 1 and"),
                ("dropout = 0.1", "dropout = 1.5", "dropout", "below 1"),
                ("width = 16", "width = 17", "heads", "16"),
                ("batch = 8", "batch = 9", "micro_batches", "8"),
                ('"cosine"', '"cosin"', "cosin", "cosine"),
                ('kind = "synthetic"', 'path = "no.txt"',
                 r"no\.txt", "does not exist", "relative"),
                ("[model]", "[model", "expected ']'")):
            with self.subTest(new):
                self.check_edit(old, new, *patterns)

    def write_archive(self, source, path, change):
        """A zip file with the entries that `change` gives of each."""
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
            for info in old.infolist():
                for name, data in change(info.filename, old.read(info)):
                    new.writestr(name, data)

    def hostile_archives(self):
        """(kind of model, file) of what nobody should trust."""
        plain = {"pt2": ARCHIVES / "mlp.pt2", "torchscript": ARCHIVES / "mlp.pt"}
        numbers = random.Random(5)
        bomb = b"\x80\x02cposix\nsystem\nX\x04\x00\x00\x00true\x85R."

        def rename(name, data):
            yield ("../../" + name if name.endswith(".pkl") else name, data)

        def poison(name, data):
            yield (name, bomb if name.endswith(".pkl") else data)

        def garble(name, data):
            is_text = name.endswith((".json", ".py"))
            yield (name, data.replace(b"1", b"[") if is_text else data)

        def enlarge(name, data):
            is_text = name.endswith((".json", ".py"))
            yield (name, data.replace(b"5", b"9223372036854775807")
                   if is_text else data)

        for kind, source in plain.items():
            data = source.read_bytes()
            variants = {"empty": b"", "short": data[:len(data) // 2],
                        "text": b"no archive " * 100,
                        "tail": data[-len(data) // 3:]}
            for i in range(4):
                bytes_ = bytearray(data)
                for _ in range(200):
                    bytes_[numbers.randrange(len(bytes_))] ^= 0xff
                variants[f"flipped{i}"] = bytes(bytes_)
            for name, content in variants.items():
                path = self.folder / (name + source.suffix)
                path.write_bytes(content)
                yield kind, path
            for change in (rename, poison, garble, enlarge):
                path = self.folder / (change.__name__ + source.suffix)
                self.write_archive(source, path, change)
                if kind == "torchscript" or change is not poison:
                    yield kind, path
        yield "pt2", plain["torchscript"]
        yield "torchscript", plain["pt2"]
        yield "h5", plain["pt2"]

    def test_an_archive_that_nobody_should_trust_is_refused(self):
        """No crash, nothing run, by the command that trains as by imports."""
        for kind, path in self.hostile_archives():
            with self.subTest(kind=kind, file=path.name):
                self.input.write_text(
                    f'[run]\noutput = "{self.out}"\n[model]\nkind = "{kind}"\n'
                    f'path = "{path}"\n[data]\nkind = "hdf5"\n'
                    f'path = "{self.input}"\ninputs = ["x"]\n')
                self.check("validate", self.input, patterns=["."])
        self.check(self.input, ranks=2, patterns=["is no model file"])
        self.check("import", self.folder / "short.pt2", "-o",
                   self.folder / "x.h5", patterns=["is no archive"])

    def test_data_without_a_path_are_refused(self):
        self.check("validate", self.input, "--set", "data.kind=text",
                   patterns=[str(self.input), "'path' in .data. is missing"])

    def test_validate_looks_at_the_data(self):
        texts = {"empty.txt": "", "short.txt": "short"}
        for name, text in texts.items():
            (self.folder / name).write_text(text)
        (self.folder / "no texts").mkdir()
        text = ["data.kind=text"]
        tensors = ["data.kind=hdf5", f"data.path='{self.input}'"]
        for settings, pattern in (
                ([*text, f"data.path='{self.folder / 'empty.txt'}'"],
                 "text has 0 bytes"),
                ([*text, f"data.path='{self.folder / 'short.txt'}'"],
                 "text has 5 bytes"),
                ([*text, f"data.path='{self.folder / 'no texts'}'"],
                 "no text in the folder"),
                ([*tensors, "data.inputs=['x', 'y']"], str(self.input)),
                ([*tensors, "data.inputs=['x']"], "names 1 datasets")):
            words = [self.input]
            for setting in settings:
                words += ["--set", setting]
            with self.subTest(settings):
                self.check("validate", *words, patterns=[pattern])

    def test_a_mistake_found_by_train_leaves_nothing_behind(self):
        self.check_edit("width = 16", "widht = 16", "width", command="train")

    def test_under_mpirun_one_rank_speaks_for_all(self):
        self.check_edit("width = 16", "widht = 16", "width", command="train",
                        ranks=3)

    def test_a_wrong_set_is_named(self):
        for setting, *patterns in (
                ("train.stepss=2", "stepss", "steps"),
                ("train.steps=many", "steps", "integer"),
                ("train.steps", "train.steps", "="),
                ("steps=2", "steps", "train.steps|section|SECTION")):
            with self.subTest(setting):
                self.check("validate", self.input, "--set", setting,
                           patterns=patterns)

    def test_a_missing_input_file_is_named(self):
        self.check(self.folder / "none.toml", patterns=[r"none\.toml"])
        self.check(self.folder / "none.toml", patterns=[r"none\.toml"],
                   ranks=3)
        self.check(self.folder, patterns=["folder|directory"])

    def test_more_ranks_than_the_model_can_use_are_refused(self):
        self.check("plan", self.input, "--np", "500",
                   patterns=["500", "ops", "ranks|devices|stages"])

    def test_sites_of_another_number_of_ranks_are_refused(self):
        sites = 'topology.sites=[{name = "a", ranks = 2}]'
        self.check(self.input, "--output", self.out, "--set", sites, ranks=3,
                   patterns=["2 ranks", "there are 3", "mpirun -np 2"])
        self.check("plan", self.input, "--set", sites, "--np", "3",
                   patterns=["2 ranks", "there are 3"])

    def test_an_output_folder_in_use_is_left_alone(self):
        self.out.mkdir()
        (self.out / "metrics.jsonl").write_text("{}\n")
        self.check(self.input, "--output", self.out, ranks=3,
                   patterns=["not empty", "--resume", "--overwrite"])

    def test_overwrite_leaves_files_of_others_alone(self):
        self.out.mkdir()
        (self.out / "thesis.tex").write_text("precious")
        self.check(self.input, "--output", self.out, "--overwrite",
                   patterns=[r"thesis\.tex", "another folder"])

    def test_an_output_that_cannot_be_a_folder_is_refused(self):
        self.out.write_text("a file")
        self.check(self.input, "--output", self.out,
                   patterns=["is a file", "--output"])
        self.check(self.input, "--output", self.out / "below", ranks=3,
                   patterns=["out", "--output"])

    def test_a_wrong_command_line_is_refused(self):
        for words, *patterns in (
                (["trian", self.input], "trian", "did you mean 'train'"),
                ([self.input, "--resum"], "--resum"),
                (["plan", self.input, "--np", "-1"], "np"),
                ([self.input, "--resume", "--overwrite"],
                 "--resume", "--overwrite"),
                (["train"], "INPUT"),
                (["generate"], "CHECKPOINT")):
            with self.subTest(words):
                self.check(*words, patterns=patterns)
        for words, *patterns in (([self.input, "--resum"], "--resum"),
                                 (["trian"], "trian", "train"),
                                 (["train"], "INPUT")):
            self.check(*words, patterns=patterns, ranks=3)

    def test_ranks_that_are_faster_do_not_silence_the_first(self):
        """A launcher ends all others when one fails."""
        slow_first = self.scratch / "slow-first"
        slow_first.write_text(
            "#!/bin/sh\n"
            '[ "$OMPI_COMM_WORLD_RANK" != 0 ] || sleep 1\n'
            f'exec "{harness.program()}" "$@"\n')
        slow_first.chmod(0o755)

        for words in (["--resum"], ["trian"]):
            with self.subTest(words):
                result = self.run_program(*words, ranks=3, status=2,
                                          program=slow_first)

                self.assertEqual(len(result.sentences()), 1, result)

    def test_an_output_never_replaces_what_was_read(self):
        texts = self.folder / "texts"
        texts.mkdir()
        text = texts / "a.txt"
        text.write_text("some text\n")
        link = self.folder / "link.txt"
        link.symlink_to(text)
        script = self.folder / "mlp.pt"
        script.write_bytes((ARCHIVES / "mlp.pt").read_bytes())
        named = ("--set", "data.kind=text", "--set", f"data.path='{text}'")
        for words, output in (
                (["tokenize", "--tokenizer", "bytes", text, "-o"], text),
                (["tokenize", "--tokenizer", "bytes", texts, "-o"], text),
                (["tokenize", "--tokenizer", "bytes", text, "-o"], link),
                (["import", script, "-o"], script),
                (["calibrate", self.input, "-o"], self.input),
                (["probe", self.input, "-o"], self.input),
                (["plan", self.input, "--svg"], self.input),
                (["plan", self.input, *named, "--svg"], text),
                (["simulate", self.input, "--trace"], self.input)):
            with self.subTest(words[0], output=output):
                self.check(*words, output,
                           patterns=[str(output), "would be lost", "give"])

    def test_an_earlier_output_is_replaced(self):
        texts = self.folder / "texts"
        texts.mkdir()
        (texts / "a.txt").write_text("some text\n")
        for words in (["tokenize", "--tokenizer", "bytes", texts, "-o",
                       texts / "a.bin"],
                      ["plan", self.input, "--svg", self.folder / "p.svg"]):
            for _ in range(2):
                self.run_program(*words)

    def test_generate_wants_a_checkpoint_and_sensible_options(self):
        self.check("generate", self.folder,
                   patterns=["no complete checkpoint", "step-N"])
        self.check("generate", self.folder / "none",
                   patterns=["none", "step-N"])
        self.check("generate", self.folder, "--tokens", "-3",
                   patterns=["--tokens", "-3"])
        self.check("generate", self.folder, "--temperature", "-1",
                   patterns=["--temperature", "-1"])


if __name__ == "__main__":
    harness.main()

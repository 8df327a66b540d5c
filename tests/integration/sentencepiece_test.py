"""SentencePiece in the program, beside LibTorch and its Protocol Buffers."""

import pathlib
import shutil
import struct
import subprocess
import unittest

import harness

HERE = pathlib.Path(__file__).resolve().parent
MODELS = HERE.parent / "data/sentencepiece"
PAGES = HERE.parent.parent / "docs/how-to"

SMALL = ["--set", "model.vocabulary=300", "--set", "train.steps=1",
         "--set", "data.tokenizer=sentencepiece",
         "--set", f"data.sentencepiece_file={MODELS / 'bytes.model'}",
         "--set", "data.kind=text", "--set", f"data.path={PAGES}"]


class SentencePieceTest(harness.ProgramTest):
    def tokenize(self, page, model, *words):
        output = self.folder / "tokens.bin"
        self.run_program("tokenize", page, "-o", output, "--tokenizer",
                         "sentencepiece", "--sentencepiece-file", model, *words)
        data = output.read_bytes()[1024:]
        return list(struct.unpack(f"<{len(data) // 2}H", data))

    def test_text_becomes_the_tokens_of_spm_encode(self):
        if shutil.which("spm_train") is None:
            raise unittest.SkipTest("spm_train was not found")
        page = PAGES / "import.md"
        for kind in ("unigram", "bpe"):
            prefix = self.folder / kind
            subprocess.run(
                ["spm_train", f"--input={page}", f"--model_prefix={prefix}",
                 f"--model_type={kind}", "--vocab_size=300",
                 "--num_threads=1"], check=True, capture_output=True)
            model = f"{prefix}.model"
            theirs = subprocess.run(
                ["spm_encode", f"--model={model}", "--output_format=id", page],
                check=True, capture_output=True, text=True).stdout.split()

            self.assertEqual(self.tokenize(page, model),
                             [int(token) for token in theirs])

    def test_a_model_trains_on_it_and_writes(self):
        self.train("run", *SMALL, ranks=2)
        text = self.run_program(
            "generate", self.checkpoint("run", 1), "--prompt", "Größe",
            "--tokens", 20).stdout

        self.assertTrue(text.startswith("Größe"), text)

    def test_a_file_that_is_no_model_is_refused(self):
        result = self.start("tokenize", PAGES, "-o", self.folder / "x",
                            "--tokenizer", "sentencepiece",
                            "--sentencepiece-file", __file__).finish()

        self.assertEqual(result.status, 2, result)
        self.assertIn("is no model of SentencePiece", result.stderr)

    def test_texts_end_with_the_token_of_their_end(self):
        page = PAGES / "plots.md"
        tokens = self.tokenize(page, MODELS / "bytes.model", "--end-of-text")

        self.assertEqual(tokens[-1], 2)


if __name__ == "__main__":
    harness.main()

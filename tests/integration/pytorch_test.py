"""From PyTorch to a run and back, by the commands that a person types.

Archives that are stored; and a model that is made here, where a PyTorch with
torch.export is found ($FUSIONLLM_TEST_PYTHON, else python3).
"""

import json
import os
import struct
import subprocess
import sys
import unittest
from pathlib import Path

import harness

HERE = Path(__file__).resolve().parent
ARCHIVES = HERE.parent / "importers/archives"
EXPORTER = HERE.parent.parent / "src/tools/fusionllm-export-model"
PYTHON = os.environ.get("FUSIONLLM_TEST_PYTHON", sys.executable)

INPUT = """
[run]
name = "gpt"
output = "{output}"
[model]
kind = "{kind}"
path = "{path}"
[data]
kind = "synthetic"
[train]
batch = 4
steps = 3
optimizer = "sgd"
learning_rate = 0.1
"""

# Run by a Python that has torch.
MODEL = """
import sys
import torch
from torch import nn
from torch.nn import functional


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(16, 8)
        self.norm = nn.BatchNorm1d(8)
        self.mix = nn.Linear(8, 8)
        self.head = nn.Linear(8, 16, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("scale", torch.full((8,), 0.5))
        self.register_buffer("unsaved", torch.ones(8), persistent=False)

    def forward(self, tokens, labels):
        x = self.embed(tokens) * self.scale + self.unsaved
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)
        x = self.head(x + torch.tanh(self.mix(x)))
        return functional.cross_entropy(x.flatten(0, 1), labels.flatten())


def make():
    torch.manual_seed(0)
    tokens = torch.randint(16, (2, 6))
    return Small(), (tokens, tokens.clone())
"""

CHECK = """
import json
import struct
import sys
import torch
import small


def load(path):
    with open(path, "rb") as file:
        length, = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(length))
        data = file.read()
    types = {"F32": torch.float32, "I64": torch.int64}
    return {name: torch.frombuffer(
                bytearray(data[slice(*entry["data_offsets"])]),
                dtype=types[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in header.items() if name != "__metadata__"}


model, (tokens, labels) = small.make()
state = load(sys.argv[1])
model.load_state_dict(state, strict=True)
assert model.head.weight is model.embed.weight
print(json.dumps({name: tensor.flatten().tolist()
                  for name, tensor in model.state_dict().items()}))
"""


def read_safetensors(path):
    """Name to (dtype, sizes, bytes)."""
    data = Path(path).read_bytes()
    length, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + length])
    body = data[8 + length:]
    return {name: (entry["dtype"], entry["shape"],
                   body[slice(*entry["data_offsets"])])
            for name, entry in header.items() if name != "__metadata__"}


class PytorchTest(harness.ProgramTest):
    def write_input(self, kind, path):
        source = self.folder / f"{kind}.toml"
        source.write_text(INPUT.format(
            output=self.folder / kind, kind=kind, path=path))
        return source

    def losses(self, run):
        lines = (self.folder / run / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines]

    def test_a_model_trains_from_its_archive_and_from_its_import(self):
        archive = ARCHIVES / "gpt.pt2"
        imported = self.folder / "gpt.h5"
        self.run_program("import", archive, "-o", imported)

        self.run_program(self.write_input("pt2", archive), ranks=2)
        self.run_program(self.write_input("h5", imported), ranks=3)

        self.assertEqual(len(self.losses("pt2")), 3)
        self.assertEqual(self.losses("pt2"), self.losses("h5"))

    def test_export_gives_the_state_dict_back(self):
        archive = ARCHIVES / "gpt.pt2"
        self.run_program(self.write_input("pt2", archive), ranks=2)
        trained = self.folder / "trained.safetensors"

        self.run_program("export", self.folder / "pt2", "-o", trained)

        tensors = read_safetensors(trained)
        self.assertIn("h.0.c_attn.weight", tensors)
        self.assertNotIn("positions", tensors)
        self.assertEqual(tensors["wte.weight"], tensors["lm_head.weight"])
        self.assertEqual(tensors["wte.weight"][:2], ("F32", [17, 12]))

    def test_an_exported_model_is_where_another_run_starts(self):
        source = self.write_input("pt2", ARCHIVES / "gpt.pt2")
        self.run_program(source, "--set", "train.steps=5")
        whole = self.losses("pt2")
        self.run_program(source, "--overwrite", "--set", "train.steps=3",
                         "--set", "data.shuffle=false")
        self.run_program("export", self.folder / "pt2", "-o",
                         self.folder / "a.safetensors")
        self.run_program("export", self.folder / "pt2", "-o",
                         self.folder / "a.h5", "--format", "h5")

        first = []
        for settings in (
                ["model.weights=\"" + str(self.folder / "a.safetensors") + '"'],
                ["model.kind=h5",
                 "model.path=\"" + str(self.folder / "a.h5") + '"']):
            arguments = [word for setting in settings
                         for word in ("--set", setting)]
            self.run_program(source, "--overwrite", "--set", "train.steps=1",
                             *arguments)
            first.append(self.losses("pt2")[0])

        self.assertEqual(first[0], first[1])
        self.assertNotEqual(first[0], whole[0])

    def test_a_built_in_model_is_exported_too(self):
        self.train("run", "--set", "train.steps=1")
        trained = self.folder / "trained.safetensors"
        self.run_program("export", self.folder / "run", "-o", trained)

        self.assertIn("wte.weight", read_safetensors(trained))

    def test_a_file_that_is_no_model_is_refused(self):
        bad = self.folder / "bad.pt2"
        bad.write_text("no archive")
        result = self.start(self.write_input("pt2", bad)).finish()

        self.assertEqual(result.status, 2, result)
        self.assertIn("bad.pt2", result.stderr)


class RoundTripTest(harness.ProgramTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        probe = subprocess.run(
            [PYTHON, "-c", "import torch.export; "
             "assert tuple(map(int, torch.__version__.split('.')[:2])) >= (2, 5)"],
            capture_output=True)
        if probe.returncode != 0:
            raise unittest.SkipTest(
                f"{PYTHON} has no PyTorch of 2.5 or later")

    def python(self, *arguments):
        result = subprocess.run(
            [PYTHON, *map(str, arguments)], capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(self.folder)})
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def test_a_model_comes_back_as_it_was_trained(self):
        (self.folder / "small.py").write_text(MODEL)
        (self.folder / "check.py").write_text(CHECK)
        model = self.folder / "model.pt2"
        self.python(EXPORTER, f"{self.folder / 'small.py'}:make", "-o", model)
        source = self.folder / "small.toml"
        source.write_text(INPUT.format(
            output=self.folder / "run", kind="pt2", path=model))

        self.run_program(source, ranks=2)
        trained = self.folder / "trained.safetensors"
        self.run_program("export", self.folder / "run", "-o", trained)

        state = json.loads(self.python(self.folder / "check.py", trained))
        self.assertEqual(state["scale"], [0.5] * 8)
        self.assertNotIn("unsaved", state)
        self.assertNotEqual(state["norm.running_mean"], [0.0] * 8)


if __name__ == "__main__":
    harness.main()

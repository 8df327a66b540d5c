"""From PyTorch to a run and back, by the commands that a person types.

Archives that are stored; and a model that is made here, where a PyTorch is found
(harness.find_pytorch): a trace by any, a .pt2 by one with torch.export.
"""

import json
import os
import random
import struct
import subprocess
import unittest
from pathlib import Path

import harness

HERE = Path(__file__).resolve().parent
ARCHIVES = HERE.parent / "importers/archives"
EXPORTER = HERE.parent.parent / "src/tools/fusionllm-export-model"

# Windows of 7 tokens, from each token on: 4 samples, 2 micro-batches a step.
DATA = """
kind = "tokens"
path = "{tokens}"
validation_fraction = 0
shuffle = false
"""

# Run by a Python that has torch. Batch norms whose counters go on, a shared
# parameter, a frozen and a complex one, buffers that are saved and one that is not.
MODEL = """
import torch
from torch import nn
from torch.nn import functional


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(16, 8)
        self.norm = nn.BatchNorm1d(8)
        self.mix = nn.Linear(8, 8)
        self.mix.bias.requires_grad_(False)
        self.filter = nn.Parameter(
            0.1 * torch.randn(4, 8, dtype=torch.complex64))
        self.head = nn.Linear(8, 16, bias=False)
        self.head.weight = self.embed.weight
        self.register_buffer("scale", torch.full((8,), 0.5))
        self.register_buffer("unsaved", torch.ones(8), persistent=False)

    def forward(self, tokens, labels):
        x = self.embed(tokens) * self.scale + self.unsaved
        # The same norm twice: it counts two batches a forward.
        x = self.norm(x.transpose(1, 2))
        x = self.norm(x).transpose(1, 2)
        spectrum = torch.fft.rfft(x, dim=1) * self.filter
        x = x + torch.fft.irfft(spectrum, n=6, dim=1)
        x = self.head(x + torch.tanh(self.mix(x)))
        return functional.cross_entropy(x.flatten(0, 1), labels.flatten())


def make():
    torch.manual_seed(0)
    tokens = torch.randint(16, (2, 6))
    model = Small()
    model.norm.num_batches_tracked.fill_(5)
    return model, (tokens, tokens.clone())
"""

# What a trace loses; only the last one is what its trace is.
OTHERWISE = """
import torch
from torch import nn
from torch.nn import functional


class Other(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.change = change
        self.student = nn.Linear(4, 4)
        self.teacher = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4, momentum=None)

    def forward(self, x):
        return functional.mse_loss(self.student(x), self.change(self, x))


def no_grad_teacher(model, x):
    with torch.no_grad():
        return model.teacher(x)


def doubled(model, x):
    x = model.teacher(x)
    x.data.mul_(2.0)
    return x


def decided(model, x):
    return model.teacher(x) if x[0, 0] > 0 else model.teacher(-x)


def noisy(model, x):
    return functional.dropout(model.teacher(x + torch.randn_like(x)), 0.5)


def maker(change):
    def make():
        torch.manual_seed(0)
        x = torch.ones(5, 4)
        x[1:] = torch.linspace(-9, 1, 16).reshape(4, 4)
        return Other(change), x
    return make


no_grad = maker(no_grad_teacher)
data = maker(doubled)
average = maker(lambda model, x: model.norm(x))
decision = maker(decided)
random = maker(noisy)
"""

# Trains as the program does, and goes on from what the program gave back.
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
    types = {"F32": torch.float32, "I64": torch.int64,
             "C64": torch.complex64}
    return {name: torch.frombuffer(
                bytearray(data[slice(*entry["data_offsets"])]),
                dtype=types[entry["dtype"]]).reshape(entry["shape"])
            for name, entry in header.items() if name != "__metadata__"}


def micro_batch(step, number):
    first = 4 * step + 2 * number
    rows = torch.tensor([stream[i:i + 7] for i in (first, first + 1)])
    return rows[:, :-1], rows[:, 1:]


def train(model, step):
    optimizer = torch.optim.SGD(
        [p for p in model.parameters() if p.requires_grad], lr=0.1)
    losses = [model(*micro_batch(step, number)) for number in range(2)]
    model.zero_grad()
    (sum(losses) / 2).backward()
    optimizer.step()
    return sum(loss.item() for loss in losses) / 2


trained, tokens = sys.argv[1:]
data = open(tokens, "rb").read()
stream = struct.unpack(f"<{len(data) // 2}H", data)
ours, _ = small.make()
losses = [train(ours, step) for step in range(3)]
model, _ = small.make()
model.load_state_dict(load(trained), strict=True)
assert model.head.weight is model.embed.weight
differences = {name: (tensor - ours.state_dict()[name]).abs().max().item()
               for name, tensor in model.state_dict().items()}
print(json.dumps({"losses": losses, "next": train(model, 3),
                  "differences": differences,
                  "counted": model.norm.num_batches_tracked.item()}))
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
        return self.write_model_input(kind, kind, path, batch=4, steps=3)

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

        manifest = self.checkpoint("run", 1) / "manifest.json"
        result = self.run_program("export", self.folder / "run", "-o", manifest,
                                  status=2)
        self.assertIn("would be lost", result.stderr)
        json.loads(manifest.read_text())

    def test_a_file_that_is_no_model_is_refused(self):
        bad = self.folder / "bad.pt2"
        bad.write_text("no archive")
        result = self.start(self.write_input("pt2", bad)).finish()

        self.assertEqual(result.status, 2, result)
        self.assertIn("bad.pt2", result.stderr)


class RoundTripTest(harness.ProgramTest):
    def python(self, program, *arguments):
        result = subprocess.run(
            [program, *map(str, arguments)], capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": str(self.folder)})
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout

    def go_round(self, kind, suffix, least):
        """Train three steps, go on in PyTorch and here; what came of it."""
        python = harness.find_pytorch(least)
        if python is None:
            self.skipTest(f"no Python with PyTorch {least} was found")
        (self.folder / "small.py").write_text(MODEL)
        (self.folder / "check.py").write_text(CHECK)
        tokens = self.folder / "tokens.bin"
        numbers = random.Random(3)
        tokens.write_bytes(struct.pack(
            "<40H", *(numbers.randrange(16) for _ in range(40))))
        model = self.folder / f"model{suffix}"
        self.python(python, EXPORTER, f"{self.folder / 'small.py'}:make", "-o",
                    model)
        if kind == "h5":
            self.run_program("import", model, "-o", self.folder / "model.h5")
            model = self.folder / "model.h5"
        source = self.write_model_input("run", kind, model, batch=4, steps=3,
                                        data=DATA.format(tokens=tokens))
        trained = self.folder / "trained.safetensors"
        self.run_program(source, ranks=2)
        self.run_program("export", self.folder / "run", "-o", trained)
        found = json.loads(self.python(
            python, self.folder / "check.py", trained, tokens))

        self.run_program(source, "--resume", "--set", "train.steps=4", ranks=3)
        return found, read_safetensors(trained)

    def check(self, found, tensors):
        losses = self.losses_of_run()
        for ours, theirs in zip(losses, [*found["losses"], found["next"]],
                                strict=True):
            self.assertAlmostEqual(ours, theirs, delta=1e-5)
        for name, difference in found["differences"].items():
            self.assertLess(difference, 1e-5, name)
        # 5 before, two a micro-batch, two of these a step.
        self.assertEqual(found["counted"], 5 + 2 * 2 * 3 + 2 * 2)
        self.assertIn("mix.bias", tensors)
        self.assertIn("scale", tensors)
        self.assertNotIn("unsaved", tensors)
        self.assertEqual(tensors["filter"][:2], ("C64", [4, 8]))

    def losses_of_run(self):
        lines = (self.folder / "run/metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines]

    def test_a_model_that_pytorch_cannot_save_is_refused_with_a_sentence(self):
        python = harness.find_pytorch((1, 13))
        if python is None:
            self.skipTest("no Python with PyTorch was found")
        (self.folder / "bad.py").write_text(
            "import torch\n"
            "class Bad(torch.nn.Module):\n"
            "    def forward(self, x):\n"
            "        raise KeyError('nothing works')\n"
            "def make():\n"
            "    return Bad(), torch.ones(2)\n")
        result = subprocess.run(
            [python, EXPORTER, f"{self.folder / 'bad.py'}:make", "-o",
             self.folder / "bad.pt"], capture_output=True, text=True)

        self.assertEqual(result.returncode, 2)
        last = result.stderr.splitlines()[-1]
        self.assertIn("could not save this model", last)
        self.assertIn("KeyError", last)
        self.assertEqual(list(self.folder.glob("bad*.pt")), [])

    def export_other(self, python, name, *words):
        return subprocess.run(
            [python, EXPORTER, f"{self.folder / 'other.py'}:{name}", "-o",
             self.folder / f"{name}.pt", *words],
            capture_output=True, text=True)

    def test_a_trace_that_would_train_otherwise_is_refused(self):
        python = harness.find_pytorch((1, 13))
        if python is None:
            self.skipTest("no Python with PyTorch was found")
        (self.folder / "other.py").write_text(OTHERWISE)
        for name, what in (
                ("no_grad", "the gradient of 'teacher.weight' for the example"),
                ("data", "output 1 for the example"),
                ("average", "'norm.running_mean' after them"),
                ("decision", "output 1 for other numbers")):
            with self.subTest(name):
                result = self.export_other(python, name)

                self.assertEqual(result.returncode, 2, result.stderr)
                last = result.stderr.splitlines()[-1]
                self.assertIn(what, last)
                self.assertIn("detach()", last)
                self.assertEqual(list(self.folder.glob(f"{name}*.pt")), [])

        result = self.export_other(python, "no_grad", "--unchecked")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue((self.folder / "no_grad.pt").is_file())

    def test_random_numbers_are_no_reason_to_refuse_a_trace(self):
        python = harness.find_pytorch((1, 13))
        if python is None:
            self.skipTest("no Python with PyTorch was found")
        (self.folder / "other.py").write_text(OTHERWISE)

        result = self.export_other(python, "random")

        self.assertEqual(result.returncode, 0, result.stderr)

    def test_an_exported_model_comes_back_as_pytorch_trains_it(self):
        self.check(*self.go_round("pt2", ".pt2", (2, 5)))

    def test_a_traced_model_comes_back_as_pytorch_trains_it(self):
        self.check(*self.go_round("torchscript", ".pt", (1, 13)))

    def test_a_traced_model_that_was_imported_comes_back_as_well(self):
        self.check(*self.go_round("h5", ".pt", (1, 13)))


if __name__ == "__main__":
    harness.main()

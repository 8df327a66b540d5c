"""Make the TorchScript archives of tests/importers/archives, and what PyTorch
computes.

    make_scripts.py FOLDER

Any PyTorch from 1.13 on; the archives that are stored were made by Debian's
1.13. Like make_archives.py, whose models it takes where PyTorch 1.13 has their
parts.
"""

import inspect
import json
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

import make_archives


class Encoder(nn.Module):
    """Transformer blocks of PyTorch with a mask and a tied head."""

    def __init__(self, width=8, vocabulary=11):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(width, 2, 16, 0.0, batch_first=True)
            for _ in range(2))
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens, labels):
        x = self.embed(tokens) * self.embed.weight.shape[1] ** 0.5
        size = tokens.size(1)
        mask = torch.ones(size, size, dtype=torch.bool).triu(1)
        for block in self.blocks:
            x = block(x, src_mask=mask)
        logits = self.head(x)
        loss = functional.cross_entropy(
            logits.view(-1, logits.size(-1)), labels.view(-1))
        return loss, logits


class Dense(nn.Module):
    """Concatenated features, activations in place, sizes computed with."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(4 + 2 * i), nn.ReLU(inplace=True),
                          nn.Conv2d(4 + 2 * i, 2, 3, padding=1, bias=False))
            for i in range(3))
        self.drop = nn.Dropout(0.0)
        self.head = nn.Linear(2 * 5, 4)

    def forward(self, image, labels):
        features = [self.stem(image)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        x = torch.cat(features, 1)
        b, c, h, w = x.shape
        x = x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)
        x = functional.avg_pool2d(functional.relu_(x * 1.5), 2)
        x = x.mean((2, 3))
        return functional.cross_entropy(self.head(self.drop(x)), labels)


def make_cases():
    generator = torch.Generator().manual_seed(4)
    cases = make_archives.make_cases()
    labels = torch.randint(11, (2, 6), generator=generator)
    return {
        **{name: cases[name] for name in
           ("mlp", "conv_net", "recurrent", "two_inputs", "activations",
            "statistics", "spectral")},
        "encoder": (Encoder, (
            torch.randint(11, (2, 6), generator=generator), labels)),
        "dense": (Dense, (torch.randn(2, 3, 8, 8, generator=generator),
                          labels[0, :2] % 4)),
    }


def type_of(tensor):
    names = {torch.float32: "f32", torch.int64: "i64", torch.bool: "bool"}
    sizes = ",".join(str(size) for size in tensor.shape)
    return f"{names[tensor.dtype]}[{sizes}]"


def main(folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, (make_model, inputs) in make_cases().items():
        torch.manual_seed(1)
        model = make_model().train()
        state = {key: value.clone() for key, value
                 in model.state_dict().items()}
        traced = torch.jit.trace(model, inputs, check_trace=False)
        model.load_state_dict(state)  # tracing ran it: batch norms moved
        types = " ".join(type_of(tensor) for tensor in inputs)
        torch.jit.save(traced, str(folder / f"{name}.pt"),
                       _extra_files={"inputs": types})
        expected = make_archives.expectation(model, inputs)
        (folder / f"{name}_script.json").write_text(
            json.dumps(expected) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(inspect.cleandoc(__doc__))
    main(sys.argv[1])

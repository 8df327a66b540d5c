#!/usr/bin/env python3
"""A plain PyTorch GPT of the size and recipe of quality.toml, to compare with.

Bytes as tokens, the last tenth of the file kept for validation, GPT-2's first
parameters, AdamW, clipping, linear warm-up and cosine. Nothing of FusionLLM
is used, and nothing is clever: this is what a textbook would do.

    OMP_NUM_THREADS=1 python3 pytorch_gpt.py TEXT [--steps N] [--csv FILE]

The last line of the output is "validation loss X", in nats a byte.
"""

import argparse
import csv
import math
import time

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Attention and MLP, each added to its input; x (B, T, C)."""

    def __init__(self, width, heads, context):
        super().__init__()
        self.heads = heads
        self.ln_1 = nn.LayerNorm(width)
        self.c_attn = nn.Linear(width, 3 * width)
        self.attn_proj = nn.Linear(width, width)
        self.ln_2 = nn.LayerNorm(width)
        self.c_fc = nn.Linear(width, 4 * width)
        self.mlp_proj = nn.Linear(4 * width, width)
        future = torch.ones(context, context, dtype=torch.bool).triu(1)
        self.register_buffer("future", future)

    def forward(self, x):
        B, T, C = x.shape
        parts = self.c_attn(self.ln_1(x)).split(C, dim=2)
        q, k, v = (
            part.view(B, T, self.heads, C // self.heads).transpose(1, 2)
            for part in parts
        )
        att = (q @ k.transpose(-2, -1)) / math.sqrt(C // self.heads)
        att = att.masked_fill(self.future, -math.inf).softmax(-1)
        mixed = (att @ v).transpose(1, 2).reshape(B, T, C)
        x = x + self.attn_proj(mixed)
        hidden = functional.gelu(self.c_fc(self.ln_2(x)), approximate="tanh")
        return x + self.mlp_proj(hidden)


class Gpt(nn.Module):
    """Logits (B, T, V) of tokens (B, T); embeddings are tied."""

    def __init__(self, layers, width, heads, context, vocabulary):
        super().__init__()
        self.wte = nn.Embedding(vocabulary, width)
        self.wpe = nn.Parameter(torch.empty(context, width))
        self.blocks = nn.ModuleList(
            Block(width, heads, context) for _ in range(layers)
        )
        self.ln_f = nn.LayerNorm(width)
        self.initialise(layers)

    def initialise(self, layers):
        """Normal(0, 0.02), residual projections 0.02/sqrt(2 layers)."""
        for name, parameter in self.named_parameters():
            if parameter.dim() >= 2:
                scale = 0.02
                if name.endswith("_proj.weight"):
                    scale /= math.sqrt(2 * layers)
                nn.init.normal_(parameter, 0, scale)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.ln_f(x), self.wte.weight)

    def loss(self, windows):
        """Mean cross-entropy of windows (B, T + 1), in nats."""
        logits = self(windows[:, :-1])
        return functional.cross_entropy(
            logits.flatten(0, 1), windows[:, 1:].flatten()
        )


def learning_rate(options, step):
    """Of step `step`, counted from 0."""
    if step < options.warmup_steps:
        return options.learning_rate * (step + 1) / options.warmup_steps
    done = (step - options.warmup_steps) / max(
        options.steps - options.warmup_steps, 1
    )
    share = options.final_fraction
    cosine = 0.5 * (1 + math.cos(math.pi * min(done, 1)))
    return options.learning_rate * (share + (1 - share) * cosine)


def make_optimizer(model, options):
    """AdamW; biases and norms do not decay."""
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    vectors = [p for p in model.parameters() if p.dim() < 2]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": options.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.999),
        eps=1e-8,
    )


def read_split(path, context):
    """Training bytes (N), and validation windows (W, T + 1) side by side."""
    with open(path, "rb") as file:
        text = torch.frombuffer(bytearray(file.read()), dtype=torch.uint8)
    held_out = len(text) // 10
    train, validation = text[:-held_out], text[-held_out:]
    windows = validation.unfold(0, context + 1, context + 1)
    return train.long(), windows.long()


@torch.no_grad()
def validate(model, windows, batch):
    """Mean loss over as many whole batches as there are."""
    batches = [
        windows[i : i + batch]
        for i in range(0, len(windows) - batch + 1, batch)
    ]
    return sum(model.loss(batch).item() for batch in batches) / len(batches)


def train(options):
    """The model after all steps; prints and writes what happens."""
    torch.manual_seed(options.seed)
    text, windows = read_split(options.text, options.context)
    model = Gpt(
        options.layers, options.width, options.heads, options.context, 256
    )
    optimizer = make_optimizer(model, options)
    rows = []
    begin = time.monotonic()
    for step in range(options.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(options, step)
        starts = torch.randint(len(text) - options.context, (options.batch, 1))
        batch = text[starts + torch.arange(options.context + 1)]
        loss = model.loss(batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), options.clip_norm)
        optimizer.step()
        is_due = (step + 1) % options.evaluate_every == 0
        if is_due or step + 1 == options.steps:
            # Eight at a time, as FusionLLM's micro-batches are.
            rows.append(
                (
                    step + 1,
                    loss.item(),
                    validate(model, windows, 8),
                    time.monotonic() - begin,
                )
            )
            print("step %d loss %.4f validation %.4f, %.0f s" % rows[-1])
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("text", help="a text file")
    parser.add_argument("--csv", help="write step, losses and seconds here")
    for name, value in [
        ("layers", 4),
        ("width", 128),
        ("heads", 4),
        ("context", 128),
        ("batch", 32),
        ("steps", 2000),
        ("warmup-steps", 100),
        ("evaluate-every", 250),
        ("seed", 1),
        ("learning-rate", 1e-3),
        ("final-fraction", 0.1),
        ("weight-decay", 0.1),
        ("clip-norm", 1.0),
    ]:
        parser.add_argument("--" + name, type=type(value), default=value)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = train(options)
    if options.csv:
        with open(options.csv, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["step", "loss", "validation_loss", "seconds"])
            writer.writerows(rows)
    print("validation loss %.4f" % rows[-1][2])


if __name__ == "__main__":
    main()

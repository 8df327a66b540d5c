#!/usr/bin/env python3
"""Which basis should a subspace have? A study in PyTorch, beside the program.

    basis_study.py [--seeds 1 2 3] [--columns 64] [--steps 1500] BASIS...

Trains the GPT of k_hop.toml on the same task with a bottleneck of `kept`
components after every block but the last, in exact numbers: x becomes
mean + (x - mean) E D, and gradients go through the transposes of D and E. New
bases come at steps 1, 2, 4, 8 and every 10, from the batch at hand. A BASIS is
KIND,KEPT:

    dense,0     no bottleneck
    pca,5       principal components, as the program has them
    centred,5   those of what is left without the mean
    fisher,5    principal components of x W, where W is the root of
                C + I / columns, C the gradients' second moment, its trace 1, a
                decaying mean of what the other side of the fence saw
    span,5      the span of fisher's, but projected at right angles
    fisher8,5   as fisher, of the last batch alone, C by its 8 largest components
                and the mean of the others
    full,5      as pca, but the whole gradient goes back

Prints the validation loss of every seed, in nats an answer. Needs PyTorch 2 and
NumPy. docs/decisions/bases-and-gradients.md has what came out.
"""

import argparse
import math
import re
import statistics

import numpy
import torch
from torch import nn
from torch.nn import functional

SYMBOLS, HOPS, CONTEXT, BATCH, LABEL_NOISE = 6, 3, 32, 32, 0.3
VOCABULARY = SYMBOLS * (1 + SYMBOLS + HOPS)
LAYERS, HEADS, RATE = 4, 4, 3e-3


def make_batch(random, size):
    """As src/data/k_hop.cpp, with other random numbers."""
    cycle = random.random((size, SYMBOLS)).argsort(1)
    place = cycle.argsort(1)
    order = random.random((size, SYMBOLS)).argsort(1)

    def after(symbols, hops):
        at = numpy.take_along_axis(place, symbols, 1) + hops
        return numpy.take_along_axis(cycle, at % SYMBOLS, 1)

    shape = (size, CONTEXT - SYMBOLS)
    symbol = random.integers(0, SYMBOLS, shape)
    hops = random.integers(1, HOPS + 1, shape)
    answer = numpy.where(random.random(shape) < LABEL_NOISE,
                         random.integers(0, SYMBOLS, shape),
                         after(symbol, hops))
    tokens = numpy.concatenate(
        [SYMBOLS + order * SYMBOLS + after(order, 1),
         SYMBOLS + SYMBOLS * SYMBOLS + symbol * HOPS + hops - 1], 1)
    labels = numpy.concatenate(
        [numpy.full((size, SYMBOLS), -100), answer], 1)
    return torch.from_numpy(tokens), torch.from_numpy(labels)


def components(x, kept):
    """Principal ones of (rows, columns), not centred: (columns, kept)."""
    return torch.linalg.eigh(x.T @ x)[1][:, -kept:]


class Fence:
    def __init__(self, kind, kept):
        self.kind, self.kept = kind, kept
        self.encode = self.decode = self.moment = None
        self.mean = 0.0

    def update(self, x):
        if self.kind == "dense":
            return
        x = x.detach().flatten(0, -2)
        if self.kind == "centred":
            self.mean = x.mean(0)
            x = x - self.mean
        if self.kind.startswith(("fisher", "span")) and \
                self.moment is not None:
            values, vectors = torch.linalg.eigh(self.moment)
            values = values.clamp(min=0)
            kept = re.sub(r"\D", "", self.kind)
            if kept:
                values[:-int(kept)] = values[:-int(kept)].mean()
            root = (values + 1 / len(values)).sqrt()
            basis = components(x @ (vectors * root @ vectors.T), self.kept)
            self.encode = vectors * root @ vectors.T @ basis
            self.decode = basis.T @ (vectors / root @ vectors.T)
            if self.kind.startswith("span"):
                self.encode = torch.linalg.qr(self.decode.T)[0]
                self.decode = self.encode.T
        else:
            self.encode = components(x, self.kept)
            self.decode = self.encode.T

    def see(self, gradient):
        moment = gradient.flatten(0, -2).T @ gradient.flatten(0, -2)
        moment = moment / moment.trace()
        if self.moment is None or re.search(r"\d", self.kind):
            self.moment = moment
        else:
            self.moment = 0.9 * self.moment + 0.1 * moment


class Bottleneck(torch.autograd.Function):
    @staticmethod
    def forward(context, x, fence):
        context.fence = fence
        if fence.encode is None:
            return x.clone()
        return fence.mean + (x - fence.mean) @ fence.encode @ fence.decode

    @staticmethod
    def backward(context, gradient):
        fence = context.fence
        fence.see(gradient.detach())
        if fence.encode is None or fence.kind == "full":
            return gradient, None
        return gradient @ fence.decode.T @ fence.encode.T, None


class Block(nn.Module):
    def __init__(self, columns):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(columns) for _ in range(2))
        self.attention = nn.Linear(columns, 3 * columns)
        self.up = nn.Linear(columns, 4 * columns)
        self.out = nn.ModuleList([nn.Linear(columns, columns),
                                  nn.Linear(4 * columns, columns)])

    def forward(self, x):
        size, length, columns = x.shape
        qkv = self.attention(self.norms[0](x))
        qkv = qkv.view(size, length, 3, HEADS, columns // HEADS)
        heads = functional.scaled_dot_product_attention(
            *qkv.permute(2, 0, 3, 1, 4), is_causal=True)
        x = x + self.out[0](heads.transpose(1, 2).reshape(x.shape))
        return x + self.out[1](functional.gelu(self.up(self.norms[1](x))))


class Model(nn.Module):
    def __init__(self, columns, kind, kept):
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, columns)
        self.positions = nn.Embedding(CONTEXT, columns)
        self.blocks = nn.ModuleList(Block(columns) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(columns)
        self.head = nn.Linear(columns, VOCABULARY, bias=False)
        self.fences = [Fence(kind, kept) for _ in range(LAYERS - 1)]
        for name, parameter in self.named_parameters():
            if "norm" in name:
                continue
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            else:
                deep = math.sqrt(2 * LAYERS) if ".out." in name else 1
                nn.init.normal_(parameter, 0, 0.02 / deep)

    def forward(self, tokens, labels, has_new_basis=False):
        x = self.tokens(tokens) + self.positions.weight
        for block, fence in zip(self.blocks, [*self.fences, None]):
            x = block(x)
            if fence is not None:
                if has_new_basis:
                    fence.update(x)
                x = Bottleneck.apply(x, fence)
        scores = self.head(self.norm(x)).flatten(0, -2)
        return functional.cross_entropy(scores, labels.flatten())


def rate_at(step, steps):
    if step < 100:
        return RATE * step / 100
    done = (step - 100) / max(1, steps - 100)
    return RATE * (0.1 + 0.45 * (1 + math.cos(math.pi * done)))


def train(kind, kept, seed, options):
    torch.manual_seed(seed)
    random = numpy.random.default_rng(seed)
    model = Model(options.columns, kind, kept)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE,
                                  betas=(0.9, 0.98), weight_decay=0.1)
    for step in range(1, options.steps + 1):
        optimizer.param_groups[0]["lr"] = rate_at(step, options.steps)
        loss = model(*make_batch(random, BATCH),
                     step in (1, 2, 4, 8) or step % 10 == 0)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    random = numpy.random.default_rng(10_000)
    with torch.no_grad():
        return statistics.mean(float(model(*make_batch(random, 64)))
                               for _ in range(16))


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("basis", nargs="+", metavar="BASIS")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--columns", type=int, default=64)
    parser.add_argument("--steps", type=int, default=1500)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for text in options.basis:
        kind, kept = text.split(",")
        losses = [train(kind, int(kept), seed, options)
                  for seed in options.seeds]
        print(f"{text:12}", *(f"{loss:.4f}" for loss in losses),
              f" mean {statistics.mean(losses):.4f}", flush=True)


if __name__ == "__main__":
    main()

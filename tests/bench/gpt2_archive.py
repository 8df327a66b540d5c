"""Save a GPT-2 of any size with made-up weights: OUTPUT.pt, or OUTPUT.pt2.

Needs a PyTorch (1.13 or later for .pt, 2.5 or later for .pt2) and the model's
memory, which import_memory.py, whose archives these are, must do without.
"""

import argparse

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln_1 = nn.LayerNorm(width)
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)
        self.ln_2 = nn.LayerNorm(width)
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_out = nn.Linear(4 * width, width)

    def forward(self, x, mask):
        b, t, c = x.shape
        q, k, v = (part.view(b, t, self.heads, -1).transpose(1, 2)
                   for part in self.c_attn(self.ln_1(x)).chunk(3, dim=-1))
        scores = q @ k.transpose(-2, -1) / (c // self.heads) ** 0.5
        y = scores.masked_fill(mask, float("-inf")).softmax(-1) @ v
        x = x + self.c_proj(y.transpose(1, 2).reshape(b, t, c))
        return x + self.c_out(functional.gelu(self.c_fc(self.ln_2(x))))


class Gpt2(nn.Module):
    """The head is the embedding; the loss is in the model."""

    def __init__(self, layers, width, heads, vocabulary, positions):
        super().__init__()
        self.wte = nn.Embedding(vocabulary, width)
        self.wpe = nn.Embedding(positions, width)
        self.h = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)

    def forward(self, tokens, labels):
        size = tokens.shape[1]
        mask = torch.ones(size, size, dtype=torch.bool).triu(1)
        x = self.wte(tokens) + self.wpe.weight[:size]
        for block in self.h:
            x = block(x, mask)
        logits = self.ln_f(x) @ self.wte.weight.t()
        return functional.cross_entropy(logits.flatten(0, 1), labels.flatten())


def save(model, inputs, output):
    if output.endswith(".pt"):
        traced = torch.jit.trace(model, inputs, check_trace=False)
        types = " ".join(f"i64[{x.shape[0]},{x.shape[1]}]" for x in inputs)
        torch.jit.save(traced, output, _extra_files={"inputs": types})
    else:
        torch.export.save(torch.export.export_for_training(
            model, inputs, strict=False), output)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("output")
    parser.add_argument("--layers", type=int, default=48)
    parser.add_argument("--width", type=int, default=1600)
    parser.add_argument("--heads", type=int, default=25)
    parser.add_argument("--vocabulary", type=int, default=50257)
    parser.add_argument("--positions", type=int, default=1024)
    parser.add_argument("--tokens", type=int, default=8,
                        help="of the micro-batch of one sample")
    options = parser.parse_args()
    torch.manual_seed(1)
    model = Gpt2(options.layers, options.width, options.heads,
                 options.vocabulary, options.positions).train()
    tokens = torch.randint(options.vocabulary, (1, options.tokens))
    save(model, (tokens, tokens.clone()), options.output)


if __name__ == "__main__":
    main()

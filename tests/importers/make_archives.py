"""Make the archives of tests/importers/archives, and what PyTorch computes.

    make_archives.py FOLDER

Needs PyTorch 2.5 or later; the archives that are stored were made by 2.6.0
(one JSON file and a pickled state dict) and, those whose names end in
_layout2, by 2.9.1 (a folder of raw weights). Every archive FOLDER/NAME.pt2 has
a FOLDER/NAME.json beside it: the inputs, the loss, the norm of each parameter's
gradient, and the buffers after the step.
"""

import inspect
import json
import math
import re
import sys
from pathlib import Path

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
        self.c_fc = nn.Linear(width, 2 * width)
        self.c_out = nn.Linear(2 * width, width)

    def attention(self, x):
        b, t, c = x.shape
        q, k, v = (part.view(b, t, self.heads, -1).transpose(1, 2)
                   for part in self.c_attn(x).chunk(3, dim=-1))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).reshape(b, t, c))

    def forward(self, x):
        x = x + self.attention(self.ln_1(x))
        h = functional.gelu(self.c_fc(self.ln_2(x)), approximate="tanh")
        return x + self.c_out(h)


class Gpt(nn.Module):
    """A GPT-2 with a tied head and its loss."""

    def __init__(self, layers=1, width=12, heads=2, context=6, vocabulary=17):
        super().__init__()
        self.wte = nn.Embedding(vocabulary, width)
        self.wpe = nn.Embedding(context, width)
        self.h = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln_f = nn.LayerNorm(width)
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.lm_head.weight = self.wte.weight
        self.register_buffer("positions", torch.arange(context),
                             persistent=False)

    def forward(self, tokens, labels):
        x = self.wte(tokens) + self.wpe(self.positions)
        for block in self.h:
            x = block(x)
        logits = self.lm_head(self.ln_f(x))
        loss = functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        return loss, logits


class Mlp(nn.Module):
    """Batch norm, an in-place activation, scalars, a mean squared error."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 8)
        self.norm = nn.BatchNorm1d(8)
        self.act = nn.ReLU(inplace=True)
        self.last = nn.Linear(8, 3)
        self.last.bias.requires_grad_(False)

    def forward(self, x, y):
        h = self.act(self.norm(self.first(x)))
        h = 0.5 * h + 1
        return functional.mse_loss(self.last(h) / math.sqrt(2), y)


class ConvNet(nn.Module):
    """Skip connections: added, and concatenated from far back."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(6, 4, 2, stride=2)
        self.head = nn.Linear(8, 3)

    def forward(self, image, labels):
        a = functional.relu(self.bn(self.stem(image)))
        b = functional.relu(self.conv(a), inplace=True) + a
        c = functional.max_pool2d(self.down(b), 2)
        d = self.up(functional.interpolate(c, scale_factor=2.0))
        e = torch.cat([d, b], dim=1)
        pooled = functional.adaptive_avg_pool2d(e, 1).flatten(1)
        return functional.cross_entropy(self.head(pooled), labels)


class Recurrent(nn.Module):
    """An LSTM over a short sequence, then a GRU cell."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.lstm = nn.LSTM(6, 5, batch_first=True)
        self.cell = nn.GRUCell(5, 5)
        self.head = nn.Linear(5, 11)

    def forward(self, tokens, labels):
        y, _ = self.lstm(self.embed(tokens))
        state = self.cell(y[:, -1], y[:, 0])
        return functional.cross_entropy(self.head(state), labels)


class TwoInputs(nn.Module):
    """An encoder and a decoder with a mask between them, no loss inside."""

    def __init__(self):
        super().__init__()
        self.source = nn.Linear(4, 8)
        self.target = nn.Linear(3, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 1)
        self.register_buffer(
            "mask", torch.ones(5, 7, dtype=torch.bool).triu(3))

    def forward(self, source, target):
        memory = torch.tanh(self.source(source))
        query = self.target(target)
        y, _ = self.attention(query, memory, memory, attn_mask=self.mask,
                              need_weights=False)
        y = self.norm(query + y)
        return self.head(y).pow(2).mean().unsqueeze(0).sum()


class Activations(nn.Module):
    """Sigmoid gates, products, splits and slices of several widths."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 9))
        self.scale = nn.Parameter(torch.ones(9))

    def forward(self, x):
        h = x @ self.weight * self.scale
        a, b, c = torch.split(h, [2, 3, 4], dim=1)
        gate = torch.sigmoid(a).sum(1, keepdim=True)
        b = functional.silu(b) * gate
        c = torch.where(c > 0, c, 0.1 * c).clamp(max=2.0)
        out = torch.stack([b.mean(1), c[:, 1:3].mean(1)], dim=1)
        return torch.log1p(torch.exp(out)).mean()


class Llama(nn.Module):
    """One block: rotary positions, grouped queries, RMS norm, a gated MLP."""

    def __init__(self, width=8, context=5, vocabulary=13):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, width)
        self.norm = nn.RMSNorm(width)
        self.query = nn.Linear(width, width, bias=False)
        self.key_value = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(width, 12)
        self.up = nn.Linear(width, 12)
        self.down = nn.Linear(12, width)
        angles = torch.arange(context).float()
        self.register_buffer("cos", angles.cos().unsqueeze(1))
        self.register_buffer("sin", angles.sin().unsqueeze(1))

    def rotate(self, x):
        a, b = x.chunk(2, dim=-1)
        return x * self.cos + torch.cat([-b, a], dim=-1) * self.sin

    def forward(self, tokens, labels):
        x = self.embed(tokens)
        b, t, c = x.shape
        h = self.norm(x)
        q = self.query(h).view(b, t, 4, 2).transpose(1, 2)
        k, v = self.key_value(h).view(b, t, 2, 4).transpose(1, 2).chunk(2, -1)
        y = functional.scaled_dot_product_attention(
            self.rotate(q), self.rotate(k), v, is_causal=True, enable_gqa=True)
        x = x + y.transpose(1, 2).reshape(b, t, c)
        x = x + self.down(functional.silu(self.gate(x)) * self.up(x))
        logits = x @ self.embed.weight.T
        return functional.cross_entropy(logits.flatten(0, 1), labels.flatten())


class Statistics(nn.Module):
    """Reductions of many kinds, indexing, norms, an einsum."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(6, 6))
        self.conv = nn.Conv1d(6, 4, 3, padding="same")
        self.norm = nn.GroupNorm(2, 4)
        self.act = nn.PReLU()

    def forward(self, x):
        a = torch.einsum("bij,jk->bik", x, self.weight).transpose(1, 2)
        b = functional.pad(self.norm(self.act(self.conv(a))), (1, 1))
        c = functional.normalize(b, dim=-1)
        std, mean = torch.std_mean(c.masked_fill(c > 0.5, 0.0), dim=0)
        picked = c[:, :, torch.arange(3)]
        return (c.topk(2, dim=-1).values.sum() + std.mean() + mean.var()
                + picked.logsumexp(-1).mean() + c.max(dim=-1)[0].mean()
                + (c.cumsum(0) ** 2).mean())


class Spectral(nn.Module):
    """Complex numbers: a filter that is trained, rotary positions, parts."""

    def __init__(self, width=6, length=8):
        super().__init__()
        self.filter = nn.Parameter(
            torch.randn(length // 2 + 1, width, dtype=torch.complex64))
        self.head = nn.Linear(width, 3)
        angles = torch.outer(torch.arange(length).float(), torch.rand(3))
        self.register_buffer(
            "turns", torch.polar(torch.ones_like(angles), angles))

    def forward(self, x, labels):
        spectrum = torch.fft.rfft(x, dim=1) * self.filter
        y = torch.fft.irfft(spectrum, n=x.shape[1], dim=1) + x
        pairs = torch.view_as_complex(
            y.reshape(*y.shape[:-1], -1, 2).contiguous())
        y = torch.view_as_real(pairs * self.turns).flatten(-2)
        power = spectrum * (spectrum * self.filter.conj()).conj()
        mixed = torch.fft.fft2(y, dim=(-1, -2), norm="ortho")
        y = mixed.real + torch.tanh(mixed.imag)
        y = y.mean(1) + power.abs().log1p().mean(1)
        return functional.cross_entropy(self.head(y), labels)


def make_cases():
    generator = torch.Generator().manual_seed(3)

    def floats(*sizes):
        return torch.randn(*sizes, generator=generator)

    def integers(high, *sizes):
        return torch.randint(high, sizes, generator=generator)

    return {
        "gpt": (Gpt, (integers(17, 2, 6), integers(17, 2, 6))),
        "mlp": (Mlp, (floats(6, 5), floats(6, 3))),
        "conv_net": (ConvNet, (floats(3, 2, 8, 8), integers(3, 3))),
        "recurrent": (Recurrent, (integers(11, 3, 4), integers(11, 3))),
        "two_inputs": (TwoInputs, (floats(2, 7, 4), floats(2, 5, 3))),
        "activations": (Activations, (floats(4, 6),)),
        "llama": (Llama, (integers(13, 2, 5), integers(13, 2, 5))),
        "statistics": (Statistics, (floats(2, 5, 6),)),
        "spectral": (Spectral, (floats(2, 8, 6), integers(3, 2))),
    }


def export(model, inputs):
    """The training form: batch norm and dropout stay single ops."""
    if hasattr(torch.export, "export_for_training") and \
            torch.__version__ < "2.7":
        return torch.export.export_for_training(model, inputs, strict=False)
    return torch.export.export(model, inputs)


def shorten_stack_traces(program):
    """Keep this file's frames, and its name without the folder."""
    here = Path(__file__).name
    for node in program.graph.nodes:
        frames = re.findall(r'File "[^"]*?([^"/]+)", (line .*\n.*)',
                            node.meta.get("stack_trace") or "")
        node.meta["stack_trace"] = "\n".join(
            f'File "{name}", {rest}' for name, rest in frames if name == here)
        node.meta.pop("torch_fn", None)


def describe(tensor):
    """Complex numbers as pairs of real ones."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    return {"dtype": str(tensor.dtype).removeprefix("torch."),
            "sizes": list(tensor.shape),
            "values": tensor.flatten().double().tolist()}


def expectation(model, inputs):
    result = model(*inputs)
    loss = result[0] if isinstance(result, tuple) else result
    loss.backward()
    return {
        "torch": torch.__version__,
        "inputs": [describe(tensor) for tensor in inputs],
        "loss": loss.item(),
        "gradient_norms": {
            name: parameter.grad.norm().item()
            for name, parameter in model.named_parameters()
            if parameter.grad is not None},
        "buffers": {name: describe(buffer)
                    for name, buffer in model.named_buffers()},
    }


def main(folder):
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    suffix = "_layout2" if torch.__version__ >= "2.8" else ""
    for name, (make_model, inputs) in make_cases().items():
        torch.manual_seed(1)
        model = make_model().train()
        program = export(model, inputs)
        shorten_stack_traces(program)
        torch.export.save(program, folder / f"{name}{suffix}.pt2")
        expected = expectation(model, inputs)
        (folder / f"{name}{suffix}.json").write_text(
            json.dumps(expected) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(inspect.cleandoc(__doc__))
    main(sys.argv[1])

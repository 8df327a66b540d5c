"""The model of peer.toml by torch.distributed.pipelining on gloo.

One rank of two, started by mpirun in a netlab:

    python torch_stages.py INPUT.toml SCHEDULE STEPS ADDRESS FILE.json

SCHEDULE is a class of torch.distributed.pipelining, such as Schedule1F1B.
ADDRESS is rank 0's. Rank 0 writes the seconds of every step.
"""

import json
import os
import pathlib
import sys
import time
import tomllib

import torch
from torch import distributed, nn
from torch.distributed import pipelining
from torch.nn import functional

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from pytorch_gpt import Block  # noqa: E402


class First(nn.Module):
    """The embeddings and the first blocks: tokens (B, T) to (B, T, C)."""

    def __init__(self, model, layers):
        super().__init__()
        self.wte = nn.Embedding(model["vocabulary"], model["width"])
        self.wpe = nn.Parameter(
            0.02 * torch.randn(model["context"], model["width"]))
        self.blocks = make_blocks(model, layers)

    def forward(self, tokens):
        return self.blocks(self.wte(tokens) + self.wpe)


class Last(nn.Module):
    """The other blocks and the head: (B, T, C) to logits (B, T, V)."""

    def __init__(self, model, layers):
        super().__init__()
        self.blocks = make_blocks(model, layers)
        self.ln_f = nn.LayerNorm(model["width"])
        self.head = nn.Linear(model["width"], model["vocabulary"], bias=False)

    def forward(self, x):
        return self.head(self.ln_f(self.blocks(x)))


def make_blocks(model, layers):
    return nn.Sequential(*(
        Block(model["width"], model["heads"], model["context"])
        for _ in range(layers)))


def loss_of(logits, targets):
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def train(document, schedule_name, num_steps, rank):
    """Seconds of each step."""
    model, recipe = document["model"], document["train"]
    layers = model["layers"]
    torch.manual_seed(rank)
    part = (First(model, layers // 2) if rank == 0
            else Last(model, layers - layers // 2))
    optimizer = torch.optim.AdamW(part.parameters(),
                                  lr=recipe["learning_rate"])
    stage = pipelining.PipelineStage(part, rank, 2, torch.device("cpu"))
    schedule = getattr(pipelining, schedule_name)(
        stage, n_microbatches=recipe["micro_batches"], loss_fn=loss_of)
    data = torch.Generator().manual_seed(1)
    seconds = []
    for _ in range(num_steps):
        begin = time.monotonic()
        window = torch.randint(model["vocabulary"],
                               (recipe["batch"], model["context"] + 1),
                               generator=data)
        optimizer.zero_grad()
        if rank == 0:
            schedule.step(window[:, :-1].contiguous())
        else:
            schedule.step(target=window[:, 1:].contiguous(), losses=[])
        optimizer.step()
        seconds.append(time.monotonic() - begin)
    return seconds


def main(path, schedule_name, num_steps, address, result):
    torch.set_num_threads(1)
    rank = int(os.environ["OMPI_COMM_WORLD_RANK"])
    distributed.init_process_group(
        "gloo", init_method=f"tcp://{address}:29500", rank=rank, world_size=2)
    document = tomllib.loads(pathlib.Path(path).read_text())
    seconds = train(document, schedule_name, int(num_steps), rank)
    if rank == 0:
        pathlib.Path(result).write_text(json.dumps(
            {"torch": torch.__version__, "seconds": seconds}))
    distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])

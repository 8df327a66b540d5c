"""Plans for convergence.py, as `fusionllm plan` prints them."""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import evaluation

ROOT = pathlib.Path(__file__).resolve().parents[2]


def output_of(command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: {result.stderr}")
    return result.stdout


def with_settings(settings):
    return [word for setting in settings for word in ("--set", setting)]


def plan_lines(program, source, settings, ranks):
    """Lines of the plan for so many equal devices, without comments."""
    text = output_of([program, "plan", str(source), "--np", str(ranks),
                      *with_settings(settings)])
    return [line for line in text.splitlines()
            if line and not line.startswith("#")]


def one_stage(lines):
    """The plan with all ops in one stage on one device."""
    head = [line for line in lines if line.startswith(
        ("graph", "schedule", "micro_batches"))]
    last = [line for line in lines if line.startswith("stage")][-1]
    num_ops = re.match(r"stage \d+ ops \d+ (\d+) ", last).group(1)
    return head + ['group "local" devices 0',
                   f"stage 0 ops 0 {num_ops} devices 0"]


@dataclasses.dataclass(frozen=True)
class Fence:
    cut: int
    value: int
    codec: str
    error: float  # forward, as expected


@dataclasses.dataclass(frozen=True)
class Plan:
    fences: list
    step_s: float


def plan_of(program, model, rule, testbed):
    """OP-Fence's of a model of evaluation.py, for a testbed of inputs/testbeds."""
    topology = ROOT / "inputs" / "testbeds" / f"{testbed}.toml"
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "input.toml"
        source.write_text(evaluation.INPUT)
        made = json.loads(output_of(
            [program, "plan", str(source), "--json", *with_settings(
                [*evaluation.MODELS[model], *evaluation.RULES[rule],
                 f'topology.file="{topology}"'])]))
    return Plan([Fence(fence["cut"], fence["value"], fence["codec"],
                       fence["forward_error"]) for fence in made["fences"]],
                made["step_s"])


# Blocks of the task "deep" and of GPT-2 XL.
DEEP_BLOCKS, XL_BLOCKS = 16, 48
# Of our GPT-2, untied: ops and values of a block, and what its first block ends
# with. Every block has 12 parameters, which are the first values.
BLOCK_OPS = 26
BLOCK_VALUES = 28
FIRST_END = 29


def first_value(num_blocks):
    return 37 + 12 * num_blocks


def block_of(cut):
    """The number of the block that the cut is in or behind."""
    return -((FIRST_END - cut) // BLOCK_OPS)


def moved_to_deep(fences):
    """The fences of a GPT-2 of XL_BLOCKS in one of DEEP_BLOCKS: as far into the
    model, at the same op of a block. No block has two cuts (the one whose
    values lose most stays), the first and the last have none."""
    num_blocks, of = DEEP_BLOCKS, XL_BLOCKS
    loss = {}
    for fence in fences:
        loss[fence.cut] = loss.get(fence.cut, 0) + fence.error ** 2
    worst = {}
    for cut in loss:
        block = min(max(1, block_of(cut) * num_blocks // of), num_blocks - 2)
        if block not in worst or loss[worst[block]] < loss[cut]:
            worst[block] = cut
    moved = []
    for block, cut in worst.items():
        back = block_of(cut) - block
        moved += [dataclasses.replace(
            fence, cut=cut - back * BLOCK_OPS,
            value=fence.value - first_value(of) + first_value(num_blocks)
            - back * BLOCK_VALUES) for fence in fences if fence.cut == cut]
    return sorted(moved, key=lambda fence: (fence.cut, fence.value))


# Of our ResNet: conv1, bn1 and relu are its first ops.
MAXPOOL = 3


def moved_to_images(fences):
    """The fences of a ResNet in the same one for small images, which has no
    maxpool: what crosses behind that crosses behind the relu before it."""
    moved = {}
    for fence in sorted(fences, key=lambda fence: (fence.cut, fence.value)):
        back = 1 if fence.cut > MAXPOOL else 0
        place = fence.cut - back, fence.value - back
        moved[place] = dataclasses.replace(fence, cut=place[0], value=place[1])
    return list(moved.values())

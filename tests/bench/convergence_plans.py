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
class Plan:
    fences: list  # lines
    step_s: float


def plan_of(program, rule, testbed):
    """GPT-2 XL's by OP-Fence, for a testbed of inputs/testbeds."""
    topology = ROOT / "inputs" / "testbeds" / f"{testbed}.toml"
    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder) / "input.toml"
        source.write_text(evaluation.INPUT)
        command = [program, "plan", str(source), *with_settings(
            [*evaluation.MODELS["GPT-2 XL"], *evaluation.RULES[rule],
             f'topology.file="{topology}"'])]
        lines = output_of(command).splitlines()
        made = json.loads(output_of([*command, "--json"]))
    return Plan([line for line in lines if line.startswith("fence")],
                made["step_s"])

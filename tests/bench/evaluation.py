#!/usr/bin/env python3
"""What do plans promise, on every testbed, and how far is that from the bound?

    tests/bench/evaluation.py [--program P] [--only PATTERN] [--report DOCS]

Plans GPT-2 XL and ResNet-101 for the testbeds of inputs/testbeds with each
partition and each rule of compression, and writes to DOCS (docs/evaluation):

    plans.csv   all plans: step time, with free links, bytes between sites, ...
    plans.md    a table of all testbeds for each model, and one for each testbed
    plans.svg   step times (with matplotlib)

Baselines take the devices in the given order, and dense ones also in three
random orders (the median); all get the fastest schedule that fits, as OP-Fence
does. The WAN tax of a plan is its step time over that of the same plan with
infinitely fast links. The bound is what no plan can be expected to pass: for
every link rate R, take the sites that links of R or more join, and of these the
larger of two times: the step of the best plan if all their links were free, and
the bytes of the model's narrowest cut, 100x compressed, over one link of R. The
least of all R is the bound.

Nothing is trained and nothing is measured here: what compression does to the
model is told by convergence.py.
"""

import argparse
import fnmatch
import json
import pathlib
import subprocess
import sys
import tempfile

import evaluation_report
import evaluation_testbed

ROOT = pathlib.Path(__file__).resolve().parents[2]
TESTBEDS = ["campus-48", "continents-48", "homes-48", "cloud-48", "cluster"]
RANDOM_SEEDS = [1, 2, 3]
MICRO_BATCHES = 32
INPUT = '[data]\nkind = "synthetic"\n[train]\nschedule = "auto"\n'

MODELS = {
    "GPT-2 XL": ["model.kind=gpt2", "model.size=gpt2-xl",
                 "model.tie_embeddings=false", "train.batch=32",
                 f"train.micro_batches={MICRO_BATCHES}"],
    "ResNet-101": ["model.kind=resnet", "model.size=resnet101",
                   "train.batch=1024", f"train.micro_batches={MICRO_BATCHES}"],
}
# Of a micro-batch, fp32: 1024 tokens of 1600; 32 images of 2048 x 7 x 7, the
# narrowest place that has blocks on both sides.
NARROWEST_CUT = {"GPT-2 XL": 1024 * 1600 * 4, "ResNet-101": 32 * 2048 * 49 * 4}

RULES = {
    "dense": ["compression.rule=none"],
    "uniform top-k 100": ["compression.rule=uniform"],
    "AdaTopK as we read it": ["compression.rule=paper"],
    "adaptive": ["compression.rule=adaptive"],
    "adaptive, at most 16x": ["compression.rule=adaptive",
                              "compression.max_byte_ratio=16"],
    "adaptive, at most 8x": ["compression.rule=adaptive",
                             "compression.max_byte_ratio=8"],
}
PARTITIONS = ["equal_ops", "equal_flops", "equal_memory", "op_fence"]


class Planner:
    """Runs `fusionllm plan`."""

    def __init__(self, program, folder):
        self.program = program
        self.folder = pathlib.Path(folder)

    def plan(self, model, topology, settings):
        """The plan as a dictionary, or None where none fits."""
        source = self.folder / "input.toml"
        source.write_text(INPUT)
        command = [self.program, "plan", str(source), "--json"]
        for setting in [*MODELS[model], f'topology.file="{topology}"',
                        *settings]:
            command += ["--set", setting]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode == 2 and "GiB" in result.stderr:
            return None
        if result.returncode != 0:
            sys.exit(f"{' '.join(command)}: {result.stderr}")
        return json.loads(result.stdout)

    def free_step_s(self, model, testbed, sites):
        """Of the best plan over the devices of `sites` with free links."""
        path = self.folder / "free.toml"
        path.write_text(testbed.free_links(sites))
        made = self.plan(model, path, RULES["dense"])
        return None if made is None else made["step_s"]


def bound(planner, model, testbed):
    """Seconds a step, and what they come of: see the top of this file."""
    best = None
    steps = {}
    for rate, sites in testbed.reachable():
        if sites not in steps:
            steps[sites] = planner.free_step_s(model, testbed, sites)
        if steps[sites] is None:
            continue
        found = steps[sites]
        if rate is not None:
            bytes_ = MICRO_BATCHES * NARROWEST_CUT[model] / 100
            found = max(found, bytes_ / rate)
        best = found if best is None else min(best, found)
    return best


def plans_of(planner, model, testbed):
    """Rows of one testbed: see evaluation_report.Row."""
    for partition in PARTITIONS:
        for rule, settings in RULES.items():
            if partition == "equal_memory" and rule != "dense":
                continue
            orders = ["given"]
            if rule == "dense" and partition != "op_fence":
                orders.append("random")
            for order in orders:
                seeds = RANDOM_SEEDS if order == "random" else [1]
                plans = [planner.plan(model, testbed.path, settings + [
                    f"plan.partition={partition}",
                    f"plan.device_order={order}", f"run.seed={seed}"])
                    for seed in seeds]
                yield evaluation_report.row_of(
                    model, testbed, partition, order, rule, plans)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--program",
                        default=str(ROOT / "build/release/bin/fusionllm"))
    parser.add_argument("--only", default="*", metavar="PATTERN",
                        help='of "MODEL on TESTBED", with * and ?')
    parser.add_argument("--report", default=str(ROOT / "docs/evaluation"))
    arguments = parser.parse_args()
    rows, bounds = [], {}
    with tempfile.TemporaryDirectory() as folder:
        planner = Planner(arguments.program, folder)
        for model in MODELS:
            for name in TESTBEDS:
                if not fnmatch.fnmatch(f"{model} on {name}", arguments.only):
                    continue
                testbed = evaluation_testbed.read(
                    ROOT / "inputs" / "testbeds" / f"{name}.toml")
                bounds[model, name] = bound(planner, model, testbed)
                rows += plans_of(planner, model, testbed)
                print(f"{model} on {name}: done", flush=True)
    evaluation_report.write(rows, bounds, pathlib.Path(arguments.report))


if __name__ == "__main__":
    main()

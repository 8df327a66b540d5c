#!/usr/bin/env python3
"""Does a small GPT-2 train at 48 ranks, as long as its plan says?

    tests/bench/many_ranks.py [--program P] [--folder F] [--only PATTERN ...]
                              [--report DOCS]

Trains the model of deep.toml, with 48 layers of 64 columns, for 3 steps by one
rank, and under emulated time by one rank for each device of every testbed of
inputs/testbeds, with each partition and rule; writes many-ranks.md to DOCS
(docs/evaluation).
Dense runs have to have the one rank's losses, bit for bit; runs with codecs
those of one rank with the same fences.

Finished runs are kept in F and not run again. A run of 48 ranks takes about 5
GB of memory and a minute of two cores.
"""

import argparse
import fnmatch
import json
import os
import pathlib
import re
import subprocess
import sys

import evaluation
import evaluation_testbed

HERE = pathlib.Path(__file__).resolve().parent
STEPS = 3
RULES = {"dense": "none", "adaptive": "adaptive"}
PARTITIONS = ["equal_ops", "equal_flops", "op_fence"]


class Runs:
    def __init__(self, program, folder):
        self.program = program
        self.folder = folder

    def command(self, name, settings):
        words = [self.program, "train", str(HERE / "deep.toml")]
        for setting in ["model.layers=48", "model.width=64",
                        "train.micro_batches=2",
                        f"train.steps={STEPS}", f"train.evaluate_every={STEPS}",
                        f'run.output="{self.folder / name}"', *settings]:
            words += ["--set", setting]
        return words + ["--overwrite"]

    def run(self, name, ranks, settings):
        """Rows of metrics.jsonl, of a run that is there or of a new one."""
        place = self.folder / name
        done = place / "done"
        if not done.exists():
            command = self.command(name, settings)
            if ranks > 1:
                command = ["mpirun", "-np", str(ranks), "--oversubscribe",
                           "--bind-to", "none", *command]
                if os.geteuid() == 0:
                    command.insert(1, "--allow-run-as-root")
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode != 0:
                sys.exit(f"{' '.join(command)}: {result.stderr}")
            (place / "log.txt").write_text(result.stdout)
            done.touch()
        text = (place / "metrics.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def predicted_s(self, name, ranks):
        """Of the plan that the run had."""
        command = [self.program, "plan", str(self.folder / name / "input.toml"),
                   "--np", str(ranks), "--json", "--plan",
                   str(self.folder / name / "plan.txt")]
        return json.loads(subprocess.run(
            command, capture_output=True, text=True, check=True).stdout)[
                "step_s"]


def losses(rows):
    """All there are, of training and validation."""
    return [(row["step"], row["loss"], row.get("validation_loss"))
            for row in rows]


def one_rank_settings(runs, name):
    """For the same numbers by one rank: with the fences of that run's plan."""
    plan = runs.folder / name / "plan.txt"
    has_fences = re.search(r"^fence ", plan.read_text(), re.MULTILINE)
    return [f'compression.fences="{plan}"'] if has_fences else []


def row_of(runs, testbed, partition, rule):
    ranks = len(testbed.site_of_devices())
    name = f"{testbed.name}-{partition}-{rule}"
    rows = runs.run(name, ranks, [
        "network.mode=emulated", f'topology.file="{testbed.path}"',
        f"plan.partition={partition}", f"compression.rule={RULES[rule]}"])
    settings = one_rank_settings(runs, name)
    alone = runs.run(f"{name}-alone" if settings else "dense-alone", 1,
                     settings)
    is_same = losses(rows) == losses(alone)
    plan = (runs.folder / name / "plan.txt").read_text()
    stages = len(re.findall(r"^stage ", plan, re.MULTILINE))
    predicted = runs.predicted_s(name, ranks)
    emulated = rows[-1]["emulated_step_s"]
    return (f"| {testbed.name} | {partition} | {rule} | {ranks} | {stages} | "
            f"{predicted:.4g} s | {emulated:.4g} s | "
            f"{100 * (emulated / predicted - 1):+.2f}% | "
            f"{'equal' if is_same else '**differ**'} | "
            f"{rows[-1]['validation_loss']:.6f} |"), is_same


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--program", default=str(
        evaluation.ROOT / "build/release/bin/fusionllm"))
    parser.add_argument("--folder", default="many-ranks")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PATTERN",
                        help='of "TESTBED-PARTITION-RULE", with * and ?')
    parser.add_argument("--report", default=str(
        evaluation.ROOT / "docs/evaluation"))
    arguments = parser.parse_args()
    runs = Runs(arguments.program, pathlib.Path(arguments.folder).resolve())
    lines = [
        "<!-- Made by tests/bench/many_ranks.py; edit that. What it says: "
        "../evaluation.md. -->\n", "# A rank for every device", "",
        "| testbed | partition | compression | ranks | stages | predicted step "
        "| emulated step | over predicted | losses, and one rank's | "
        f"validation loss after {STEPS} steps |",
        "|---|---|---|--:|--:|--:|--:|--:|---|--:|"]
    all_same = True
    for name in evaluation.TESTBEDS:
        testbed = evaluation_testbed.read(
            evaluation.ROOT / "inputs" / "testbeds" / f"{name}.toml")
        for partition in PARTITIONS:
            for rule in RULES:
                cell = f"{name}-{partition}-{rule}"
                if any(fnmatch.fnmatch(cell, pattern)
                       for pattern in arguments.only):
                    line, is_same = row_of(runs, testbed, partition, rule)
                    lines.append(line)
                    all_same &= is_same
                    print(line, flush=True)
    report = pathlib.Path(arguments.report) / "many-ranks.md"
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text("\n".join(lines) + "\n")
    if not all_same:
        sys.exit("ranks and one rank do not have the same losses")


if __name__ == "__main__":
    main()

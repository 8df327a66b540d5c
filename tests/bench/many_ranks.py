#!/usr/bin/env python3
"""Does a small GPT-2 train at 48 ranks, as long as its plan says?

    tests/bench/many_ranks.py [--program P] [--folder F] [--only PATTERN ...]
                              [--list] [--until HH:MM] [--report DOCS]

Trains the model of deep.toml, with 48 layers of 64 columns, for 3 steps by one
rank, and under emulated time by one rank for each device of every testbed of
inputs/testbeds, with each partition and rule of evaluation.py.
Dense runs have to have the one rank's losses, bit for bit; runs with codecs
those of one rank with the same fences.

Writes many-ranks.json and, made of it, many-ranks.md to DOCS (docs/evaluation).
What is in many-ranks.json is not run again, on any machine, as long as its recipe
is the same: the input and the plan that `fusionllm plan` makes today. Results that
--only leaves out are not looked at: that takes seconds a plan. --list says what there
is to do. A run of 48 ranks takes about 5 GB of memory and a minute or two of two
cores; --until starts none after that time of day.
"""

import argparse
import dataclasses
import datetime
import fnmatch
import hashlib
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
PARTITIONS = ["equal_ops", "equal_flops", "op_fence"]
RULES = ["dense", "uniform top-k 100", "AdaTopK as we read it", "adaptive"]
HEAD = ("<!-- Made by tests/bench/many_ranks.py; edit that. What it says: "
        "../evaluation.md. -->\n")


def output_of(command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: {result.stderr}")
    return result.stdout


def short_hash(value):
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True)
class Cell:
    testbed: evaluation_testbed.Testbed
    partition: str
    rule: str

    @property
    def name(self):
        words = re.sub(r"[^A-Za-z0-9]+", "-", self.rule)
        return f"{self.testbed.name}-{self.partition}-{words}"

    @property
    def ranks(self):
        return len(self.testbed.site_of_devices())

    @property
    def settings(self):
        return [f'topology.file="{self.testbed.path}"',
                f"plan.partition={self.partition}",
                *evaluation.RULES[self.rule]]


class Runs:
    def __init__(self, program, folder):
        self.program = program
        self.folder = folder

    def settings(self, settings):
        words = []
        for setting in ["model.layers=48", "model.width=64",
                        "train.micro_batches=2", f"train.steps={STEPS}",
                        f"train.evaluate_every={STEPS}",
                        "network.mode=emulated", *settings]:
            words += ["--set", setting]
        return words

    def plan(self, cell, *words):
        return output_of([self.program, "plan", str(HERE / "deep.toml"), "--np",
                          str(cell.ranks), *self.settings(cell.settings),
                          *words])

    def recipe(self, cell):
        """What a result depends on, the program apart, as a short text."""
        # The graph's hash changes with how it is made; its sizes are settings.
        plan = [line for line in self.plan(cell).splitlines()
                if line and not line.startswith(("#", "graph "))]
        source = [line for line in (HERE / "deep.toml").read_text().splitlines()
                  if line.partition("#")[0].strip()]
        return short_hash([source, self.settings([]), plan])

    def train(self, name, ranks, settings):
        """Rows of metrics.jsonl, of a run that is there or of a new one."""
        place = self.folder / name
        done = place / "done"
        if not done.exists():
            command = [self.program, "train", str(HERE / "deep.toml"),
                       *self.settings(settings), "--set",
                       f'run.output="{place}"', "--overwrite"]
            if ranks > 1:
                command = ["mpirun", "-np", str(ranks), "--oversubscribe",
                           "--bind-to", "none", *command]
                if os.geteuid() == 0:
                    command.insert(1, "--allow-run-as-root")
            (place / "log.txt").write_text(output_of(command))
            done.touch()
        text = (place / "metrics.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def result(self, cell, recipe):
        # Another plan's run is another run.
        name = f"{cell.name}-{recipe}"
        rows = self.train(name, cell.ranks, cell.settings)
        path = self.folder / name / "plan.txt"
        plan = path.read_text()
        # For the same numbers by one rank: with the fences of that plan, which
        # several plans may have.
        fences = re.findall(r"^fence .*", plan, re.MULTILINE)
        alone = (self.train(f"{short_hash(fences)}-alone", 1,
                            [f'compression.fences="{path}"'])
                 if fences else self.train("dense-alone", 1, []))
        return {
            "testbed": cell.testbed.name, "partition": cell.partition,
            "compression": cell.rule, "ranks": cell.ranks,
            "stages": len(re.findall(r"^stage ", plan, re.MULTILINE)),
            "predicted_s": json.loads(self.plan(cell, "--json"))["step_s"],
            "emulated_s": rows[-1]["emulated_step_s"],
            "is_same": losses(rows) == losses(alone),
            "validation_loss": rows[-1]["validation_loss"],
            "recipe": recipe}


def losses(rows):
    """All there are, of training and validation."""
    return [(row["step"], row["loss"], row.get("validation_loss"))
            for row in rows]


def line_of(result):
    over = 100 * (result["emulated_s"] / result["predicted_s"] - 1)
    return (f"| {result['testbed']} | {result['partition']} | "
            f"{result['compression']} | {result['ranks']} | "
            f"{result['stages']} | {result['predicted_s']:.4g} s | "
            f"{result['emulated_s']:.4g} s | {over:+.2f}% | "
            f"{'equal' if result['is_same'] else '**differ**'} | "
            f"{result['validation_loss']:.6f} |")


def write(cells, kept, stale, folder):
    """The results, and which cells have none, or one of another plan."""
    (folder / "many-ranks.json").write_text("{" + ",".join(
        f"\n{json.dumps(name)}: {json.dumps(result)}"
        for name, result in kept.items()) + "\n}\n")
    lines = [
        HEAD, "# A rank for every device", "",
        "| testbed | partition | compression | ranks | stages | predicted step "
        "| emulated step | over predicted | losses, and one rank's | "
        f"validation loss after {STEPS} steps |",
        "|---|---|---|--:|--:|--:|--:|--:|---|--:|",
        *[line_of(kept[cell.name]) for cell in cells if cell.name in kept]]
    missing = [f"`{cell.name}`" for cell in cells if cell.name not in kept]
    if missing:
        lines += ["", "Not run: " + ", ".join(missing) + "."]
    if stale:
        lines += ["", "Run with a plan that is not today's: " + ", ".join(
            f"`{name}`" for name in stale) + "."]
    (folder / "many-ranks.md").write_text("\n".join(lines) + "\n")


def is_past(until):
    return until is not None and f"{datetime.datetime.now():%H:%M}" >= until


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--program", default=str(
        evaluation.ROOT / "build/release/bin/fusionllm"))
    parser.add_argument("--folder", default="many-ranks")
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PATTERN",
                        help='of "TESTBED-PARTITION-RULE", with * and ?')
    parser.add_argument("--until", help="HH:MM")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--report", metavar="DOCS", default=str(
        evaluation.ROOT / "docs/evaluation"))
    arguments = parser.parse_args()
    folder = pathlib.Path(arguments.report)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "many-ranks.json"
    kept = json.loads(path.read_text()) if path.exists() else {}
    runs = Runs(arguments.program, pathlib.Path(arguments.folder).resolve())
    testbeds = [evaluation_testbed.read(
        evaluation.ROOT / "inputs" / "testbeds" / f"{name}.toml")
        for name in evaluation.TESTBEDS]
    cells = [Cell(testbed, partition, rule) for testbed in testbeds
             for partition in PARTITIONS for rule in RULES]
    stale = []
    for cell in cells:
        if not any(fnmatch.fnmatch(cell.name, pattern)
                   for pattern in arguments.only):
            continue
        recipe = runs.recipe(cell)
        if kept.get(cell.name, {}).get("recipe") == recipe:
            continue
        if arguments.list:
            print(f"to do     {cell.name}", flush=True)
        elif not is_past(arguments.until):
            kept[cell.name] = runs.result(cell, recipe)
            print(line_of(kept[cell.name]), flush=True)
            write(cells, kept, stale, folder)
        elif cell.name in kept:
            stale.append(cell.name)
    if arguments.list:
        return
    write(cells, kept, stale, folder)
    if not all(result["is_same"] for result in kept.values()):
        sys.exit("ranks and one rank do not have the same losses")


if __name__ == "__main__":
    main()

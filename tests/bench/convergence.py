#!/usr/bin/env python3
"""What does compression cost the model? Trains small ones with each codec.

    tests/bench/convergence.py --program P --text FILE --folder F [--jobs 2]
                               [--images FILE...] [--only PATTERN...]
                               [--steps N] [--list] [--until HH:MM]
                               [--report DOCS]

A cell is one run: a task, a codec, the fences that have it, a seed. There are
four tasks with 4 layers:

    text    characters of FILE (convergence_text.toml; tinyshakespeare: 1.1 MB)
    k_hop   pointer chasing, which needs depth (k_hop.toml); three in ten answers
            are any symbol, so that seeds end alike
    wide    k_hop with 256 columns (1e-3), of which a codec has more to leave out
    short   text with half the context and 700 steps, for questions that many
            runs answer (docs/decisions/one-compressed-link.md)

and fences after blocks 0, 1 and 2 ("all"), or after one of them ("one": block
1; "first"; "last"), or with the fences that a rule gives a plan of four stages
over slow links ("rule"). Two try the fences and codecs that OP-Fence gives a
large model on a testbed ("plan"):

    deep    k_hop for 16 layers (deep.toml), for those of GPT-2 XL's 48: as far
            into the model, of those of three blocks the ones that lose most
    images  ResNet-101 with an eighth of its channels on CIFAR-10
            (convergence_images.toml), for those of ResNet-101, all of them

One rank runs them all: a codec at a fence inside a stage has the same numbers, bit
by bit, as between stages.

Every cell has a folder F/cells/NAME. To run for hours in pieces, end the script
(Ctrl-C, SIGTERM, or --until, which starts no cell after that time of day) and
start it again with the same command: finished cells are skipped, unfinished
ones go on from their last checkpoint. Cells come in the order of --list, the
most telling ones first; --only takes those whose names match one of the patterns
with * and ?. Those of images need --images: CIFAR-10's binary files, the last fifth
of which is for validation (2,000 images and 500 here). --steps is for a quick look:
use another folder for it. A cell takes a core 2 to 4 minutes (k_hop), 5 to 9 (deep,
images) or 7 to 15 (text).

Then (and alone, with --jobs 0) it writes from whatever is finished, to F or to
the folder DOCS (docs/evaluation): convergence.json, all results with their
curves, and what is made of it: convergence.csv, convergence.md, and with
matplotlib convergence-*.svg. A result in convergence.json is not run again, on
any machine, as long as its recipe is the same (the task's input and the cell's
settings; not the program); take it out of that file for that. Seconds over slow
links are those that `fusionllm plan` predicts for four devices of the default
kind with links of 20 Mbit/s and 10 ms between them.
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
import shutil
import signal
import statistics
import subprocess
import sys
import time

import convergence_plans
import convergence_report
import evaluation
from convergence_cells import BLOCKS, TASKS, cells, dense_for

HERE = pathlib.Path(__file__).resolve().parent
BASIS_EVERY = 10

# What is planned over slow links has micro-batches, also where the one rank that
# trains has none.
SLOW_LINKS = [
    "train.micro_batches=4",
    "topology.sites=[" + ",".join(f'{{name="{name}",ranks=1}}'
                                  for name in "abcd") + "]",
    'topology.default_link={bandwidth="20 Mbit/s",latency="10 ms"}']


def task_settings(task, text):
    path = [f'data.path="{text}"'] if TASKS[task].data == "text" else []
    return path + list(TASKS[task].settings)


def four_stages(program, task, text):
    """Plan lines of four stages, and (cut, value) after blocks 0, 1 and 2."""
    lines = convergence_plans.plan_lines(
        program, HERE / TASKS[task].source,
        [*task_settings(task, text), SLOW_LINKS[0], "compression.rule=uniform",
         "compression.codec=int8"], 4)
    stages = [re.match(r"stage \d+ ops (\d+) (\d+) .*\.\.\. (\S+)", line)
              for line in lines if line.startswith("stage")]
    ends = [stage.group(3) for stage in stages[:-1]]
    if ends != [f"h.{block}.mlp.residual" for block in range(3)]:
        sys.exit(f"the four stages of {task} should each end with a block, but "
                 f"they end with {', '.join(ends)}; edit four_stages")
    fences = [re.match(r"fence (\d+) value (\d+) ", line).group(1, 2)
              for line in lines if line.startswith("fence")]
    return Stages([line for line in lines if not line.startswith("fence")],
                  fences)


@dataclasses.dataclass
class Stages:
    four: list
    fences: list  # cut and value after blocks 0, 1 and 2


class Sweep:
    def __init__(self, arguments):
        self.program = str(pathlib.Path(arguments.program).resolve())
        self.text = pathlib.Path(arguments.text).resolve()
        self.images = [str(pathlib.Path(file).resolve())
                       for file in arguments.images]
        self.folder = pathlib.Path(arguments.folder).resolve()
        self.steps = arguments.steps
        self.stages = {}
        self.plans = {}
        self.report_folder = pathlib.Path(arguments.report or arguments.folder)
        self.kept = read_kept(self.report_folder / "convergence.json")

    def place(self, cell):
        return self.folder / "cells" / cell.name

    def recipe(self, cell):
        """What a result depends on, the program apart, as a short text."""
        source = (HERE / TASKS[cell.task].source).read_text().splitlines()
        lines = [line for line in source if line.partition("#")[0].strip()]
        # A program's plans may change.
        fences = (self.fence_lines(cell) if cell.fences in ("plan", "rule")
                  else [])
        text = json.dumps([lines, self.settings(cell), fences])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def finished(self, cell):
        """Its result, or None."""
        done = self.place(cell) / "done.json"
        found = (json.loads(done.read_text()) if done.exists()
                 else self.kept.get(cell.name))
        return found if found and found["recipe"] == self.recipe(cell) else None

    def stages_of(self, task):
        if task not in self.stages:
            self.stages[task] = four_stages(self.program, task, self.text)
        return self.stages[task]

    def plan(self, cell):
        """Of the large model, for a cell with planned fences."""
        key = cell.task, cell.label
        if key not in self.plans:
            rule, testbed = cell.label.split(" on ")
            self.plans[key] = convergence_plans.plan_of(
                self.program, TASKS[cell.task].planned, rule, testbed)
        return self.plans[key]

    def planned_fences(self, cell):
        move = {"deep": convergence_plans.moved_to_deep,
                "images": convergence_plans.moved_to_images}
        return move[cell.task](self.plan(cell).fences)

    def rule_settings(self, cell):
        """Of a plan of four stages over slow links."""
        return [*task_settings(cell.task, self.text), *SLOW_LINKS,
                *evaluation.RULES[cell.label], "plan.partition=equal_ops"]

    def fence_lines(self, cell):
        if cell.fences == "plan":
            return [f"fence {fence.cut} value {fence.value} {fence.codec}"
                    for fence in self.planned_fences(cell)]
        if cell.fences == "rule":
            return [line for line in convergence_plans.plan_lines(
                self.program, HERE / TASKS[cell.task].source,
                self.rule_settings(cell), 4) if line.startswith("fence")]
        return [f"fence {cut} value {value} {cell.label}" for block,
                (cut, value) in enumerate(self.stages_of(cell.task).fences)
                if block in BLOCKS.get(cell.fences, ())]

    def write_fences(self, cell):
        one = convergence_plans.one_stage(convergence_plans.plan_lines(
            self.program, HERE / TASKS[cell.task].source,
            task_settings(cell.task, self.text), 1))
        lines = one + self.fence_lines(cell)
        path = self.place(cell) / "fences.txt"
        path.write_text("\n".join(lines) + "\n")
        return path

    def slow_seconds(self, cell):
        """Predicted, of a step; of the large model for planned fences; None for
        controls."""
        if cell.fences == "plan":
            return self.plan(cell).step_s
        if cell.settings or TASKS[cell.task].planned:
            return None
        command = [self.program, "plan", str(HERE / TASKS[cell.task].source),
                   "--np", "4", "--json"]
        if cell.fences == "rule":
            settings = self.rule_settings(cell)
        else:
            lines = self.stages_of(cell.task).four + self.fence_lines(cell)
            path = self.folder / "slow-links.txt"
            path.write_text("\n".join(lines) + "\n")
            command += ["--plan", str(path)]
            settings = task_settings(cell.task, self.text) + SLOW_LINKS
        made = convergence_plans.output_of(
            [*command, *convergence_plans.with_settings(settings)])
        return json.loads(made)["step_s"]

    def report(self, cells):
        results = {cell: self.finished(cell) for cell in cells}
        missing = [cell for cell in cells if results[cell] is None]
        slow = {(cell.task, cell.label, cell.fences): (
            self.slow_seconds(cell), self.slow_seconds(dense_for(cell)))
                for cell in cells if results[cell] is not None
                or self.place(cell).exists()}
        results = {cell.name: found for cell, found in results.items() if found}
        begun = []
        for cell in missing:
            curve = train_curve(read_metrics(self.place(cell)))
            if curve:
                begun.append({"task": cell.task, "name": cell.name,
                              "label": cell.label, "fences": cell.fences,
                              "seed": cell.seed,
                              "steps": cell.steps(self.steps),
                              "train_curve": curve})
        self.report_folder.mkdir(parents=True, exist_ok=True)
        (self.report_folder / "convergence.json").write_text("{" + ",".join(
            f"\n{json.dumps(name)}: {json.dumps(found)}"
            for name, found in {**self.kept, **results}.items()) + "\n}\n")
        convergence_report.write(list(results.values()), begun, [
            cell.name for cell in missing], slow, self.report_folder)

    def settings(self, cell):
        """All but the places of files."""
        task = TASKS[cell.task]
        steps = cell.steps(self.steps)
        every = min(steps, task.evaluate_every)
        settings = [
            *task.settings, f"run.seed={cell.seed}", f"train.steps={steps}",
            f"train.evaluate_every={every}",
            f"train.warmup_steps={min(100, max(1, steps // 10))}",
            "checkpoint.every=250", "checkpoint.keep=1", *cell.settings]
        if cell.fences != "none":
            settings += ["compression.evaluate=both",
                         "compression.measure_every=49",
                         f"compression.basis_every={BASIS_EVERY}"]
        return settings

    def places(self, cell):
        """Settings that say where files are; the fences are written."""
        places = [f"run.output=\"{self.place(cell)}/run\""]
        if TASKS[cell.task].data == "text":
            places.append(f'data.path="{self.text}"')
        if TASKS[cell.task].data == "images":
            places.append(f"data.path={json.dumps(self.images)}")
        if cell.fences != "none":
            places.append(f'compression.fences="{self.write_fences(cell)}"')
        return places

    def start(self, cell):
        place = self.place(cell)
        place.mkdir(parents=True, exist_ok=True)
        settings = self.settings(cell) + self.places(cell)
        record = place / "settings.json"
        if record.exists() and json.loads(record.read_text()) != settings:
            sys.exit(f"{place} was begun with other settings; use another "
                     f"--folder, or remove it")
        record.write_text(json.dumps(settings, indent=1))
        began = any((place / "run" / "checkpoints").glob("step-*"))
        command = [self.program, str(HERE / TASKS[cell.task].source),
                   "--resume" if began else "--overwrite"]
        for setting in settings:
            command += ["--set", setting]
        environment = {**os.environ, "OMP_NUM_THREADS": "1",
                       "OPENBLAS_NUM_THREADS": "1"}
        log = open(place / "log.txt", "a")
        return subprocess.Popen(command, stdout=log, stderr=log,
                                env=environment, start_new_session=True)

    def finish(self, cell, status):
        place = self.place(cell)
        rows = read_metrics(place)
        if status != 0 or not rows or \
                rows[-1]["step"] < cell.steps(self.steps):
            say(f"{cell.name}: status {status}, see {place}/log.txt")
            return
        (place / "done.json").write_text(json.dumps(
            {**result(cell, rows), "recipe": self.recipe(cell)}))
        shutil.rmtree(place / "run" / "checkpoints", ignore_errors=True)
        say(f"{cell.name}: {rows[-1]['validation_loss']:.4f}")

    def run(self, todo, jobs, until):
        running = {}
        todo = [cell for cell in todo if not self.finished(cell)]
        if not self.images:
            lacking = [cell for cell in todo if TASKS[cell.task].data == "images"]
            if lacking:
                say(f"{len(lacking)} cells need --images and are left out")
            todo = [cell for cell in todo if cell not in lacking]
        try:
            while running or todo:
                while todo and len(running) < jobs and not is_past(until):
                    cell = todo.pop(0)
                    say(f"{cell.name} begins, {len(todo)} to do")
                    running[cell] = self.start(cell)
                if not running:
                    return
                time.sleep(1)
                for cell, process in list(running.items()):
                    if process.poll() is not None:
                        del running[cell]
                        self.finish(cell, process.returncode)
        finally:
            # Each writes a checkpoint and ends.
            for process in running.values():
                process.send_signal(signal.SIGTERM)
            for process in running.values():
                process.wait()


def end_in_order(number, frame):
    sys.exit(128 + number)


def say(words):
    print(f"{datetime.datetime.now():%H:%M:%S} {words}", flush=True)


def read_kept(path):
    """Results by the names of cells, of this and of earlier sweeps."""
    return json.loads(path.read_text()) if path.exists() else {}


def is_past(until):
    return until is not None and f"{datetime.datetime.now():%H:%M}" >= until


def read_metrics(place):
    path = place / "run" / "metrics.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def byte_ratio(rows):
    """Dense bytes over sent ones, both directions, with message headers and a
    share of the basis, which is sent once in BASIS_EVERY steps; 1 for none."""
    dense = sent = 0
    directions = {}
    for row in rows:
        for fence in row.get("fences", []):
            key = (fence["cut"], fence["direction"])
            directions.setdefault(key, []).append(
                (fence["bytes"], fence["bytes"] * fence["byte_ratio"]))
    for values in directions.values():
        steady = statistics.median(bytes_ for bytes_, _ in values)
        dense += statistics.median(whole for _, whole in values)
        # The first step, the first of the list, sends a basis.
        sent += steady + max(0, values[0][0] - steady) / BASIS_EVERY
    return dense / sent if sent else 1


def result(cell, rows):
    last = rows[-1]
    return {
        "task": cell.task, "label": cell.label, "fences": cell.fences,
        "seed": cell.seed, "steps": last["step"],
        "byte_ratio": byte_ratio(rows),
        "loss": last["validation_loss"],
        "loss_codec_off": last.get("validation_loss_codec_off"),
        "seconds": sum(row["step_s"] for row in rows),
        "curve": [(row["step"], row["validation_loss"]) for row in rows
                  if "validation_loss" in row],
        "train_curve": train_curve(rows),
    }


def train_curve(rows):
    """Training loss, means of 25 steps."""
    return [(rows[end - 1]["step"],
             round(statistics.mean(row["loss"] for row in rows[end - 25:end]),
                   5))
            for end in range(25, len(rows) + 1, 25)]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--program", default="fusionllm")
    parser.add_argument("--text", default="input.txt",
                        help="a text file such as tinyshakespeare's")
    parser.add_argument("--images", nargs="+", default=[], metavar="FILE",
                        help="CIFAR-10's binary files")
    parser.add_argument("--folder", default="convergence")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=["*"], metavar="PATTERN")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--until", help="HH:MM")
    parser.add_argument("--report", metavar="DOCS",
                        help="folder for tables and plots")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    # Also of a shell that has these ignored, as for jobs in the background.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end_in_order)
    chosen = [cell for cell in cells()
              if any(fnmatch.fnmatch(cell.name, pattern)
                     for pattern in arguments.only)]
    sweep = Sweep(arguments)
    if arguments.list:
        for cell in chosen:
            state = "finished" if sweep.finished(cell) else "to do"
            print(f"{state:9} {cell.name}")
        return
    if arguments.jobs > 0:
        sweep.run(chosen, arguments.jobs, arguments.until)
    sweep.report(cells())


if __name__ == "__main__":
    main()

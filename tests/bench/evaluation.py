#!/usr/bin/env python3
"""What does OP-Fence promise over the baselines, on every testbed?

    tests/bench/evaluation.py [--fusionllm PROGRAM] [--csv FILE]
                              [--only partitions|compression]

Plans GPT-2 XL and ResNet-101 for every 48-device testbed of inputs/testbeds
with each partition, dense, and prints the predicted step times as Markdown
tables, as they stand in docs/evaluation.md: step time and speed-up over
equal_ops, the stages used, the bottleneck, and the step time of the same plan
with infinitely fast links. Baselines take the devices in the given and in three
random orders (the median) and get the fastest schedule that fits, as OP-Fence
does. A second table has the plans of OP-Fence with each rule of compression.
Nothing is trained and nothing is measured: what compression does to the model
is no part of these figures.
"""

import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
TESTBEDS = ["campus-48", "continents-48", "homes-48", "cloud-48", "cluster"]
RANDOM_SEEDS = [1, 2, 3]

MODELS = {
    "GPT-2 XL": ["model.kind=gpt2", "model.size=gpt2-xl",
                 "model.tie_embeddings=false", "train.batch=32",
                 "train.micro_batches=32"],
    "ResNet-101": ["model.kind=resnet", "model.size=resnet101",
                   "train.batch=1024", "train.micro_batches=32"],
}
PARTITIONS = ["equal_ops", "equal_flops", "equal_memory", "op_fence"]


def plan(program, folder, settings):
    """The plan as a dictionary, or the sentence that refuses it."""
    source = folder / "input.toml"
    source.write_text("[data]\nkind = \"synthetic\"\n"
                      "[train]\nschedule = \"auto\"\n")
    command = [program, "plan", str(source), "--json"]
    for setting in settings:
        command += ["--set", setting]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode == 2:
        return None
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: {result.stderr}")
    return json.loads(result.stdout)


def seconds(value):
    if value is None:
        return "does not fit"
    return f"{value:.3g} s"


def row(name, plans, base_s):
    fits = [p for p in plans if p is not None]
    if not fits:
        return [name, "does not fit", "", "", "", ""], None
    step_s = statistics.median(p["step_s"] for p in fits)
    typical = min(fits, key=lambda p: abs(p["step_s"] - step_s))
    alone_s = typical["parts"]["compute_s"] + typical["parts"]["bubble_s"]
    schedule = typical["schedule"] + ("_deep" if typical["in_flight"] else "")
    return [name, seconds(step_s),
            f"{base_s / step_s:.2f}" if base_s else "",
            f"{len(typical['stages'])}, {schedule}",
            seconds(alone_s),
            f"{typical['bottleneck']}, "
            f"{100 * typical['bottleneck_share']:.0f}%"], step_s


def table(program, folder, model, testbed, writer):
    file = ROOT / "inputs" / "testbeds" / f"{testbed}.toml"
    common = MODELS[model] + [f'topology.file="{file}"']
    lines = [["partition, device order", "step", "speed-up",
              "stages, schedule", "with free links", "bottleneck"]]
    base_s = None
    for partition in PARTITIONS:
        for order in ["given", "random"]:
            if partition == "op_fence" and order == "random":
                continue
            seeds = RANDOM_SEEDS if order == "random" else [1]
            plans = [plan(program, folder,
                          common + [f"plan.partition={partition}",
                                    f"plan.device_order={order}",
                                    f"run.seed={seed}"]) for seed in seeds]
            name = partition if partition == "op_fence" else \
                f"{partition}, {order}"
            cells, step_s = row(name, plans, base_s)
            if partition == "equal_ops" and order == "given":
                base_s = step_s
                cells[2] = "1.00" if base_s else ""
            lines.append(cells)
            writer.append([model, testbed, name,
                           math.nan if step_s is None else step_s])
    return lines


#: Rules, and the top-k that all fences have with "uniform".
RULES = [("dense", ["compression.rule=none"]),
         ("uniform top-k 100", ["compression.rule=uniform"]),
         ("AdaTopK as we read it", ["compression.rule=paper"]),
         ("bottleneck", ["compression.rule=bottleneck"]),
         ("adaptive", ["compression.rule=adaptive"]),
         ("adaptive, at most 8x", ["compression.rule=adaptive",
                                   "compression.max_byte_ratio=8"])]


def ratios(fences):
    if not fences:
        return "", ""
    values = sorted(fence["byte_ratio"] for fence in fences)
    kinds = {}
    for fence in fences:
        kind = fence["codec"].split("(")[0]
        kinds[kind] = kinds.get(kind, 0) + 1
    most = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    return (f"{statistics.median(values):.3g} ({values[-1]:.3g})",
            ", ".join(f"{count} {kind}" for kind, count in most))


def compression_table(program, folder, model, testbed, writer):
    file = ROOT / "inputs" / "testbeds" / f"{testbed}.toml"
    common = MODELS[model] + [f'topology.file="{file}"']
    lines = [["compression", "step", "speed-up", "stages, schedule",
              "byte ratio, median (most)", "fences", "bottleneck"]]
    base_s = None
    for name, settings in RULES:
        made = plan(program, folder, common + settings)
        if made is None:
            lines.append([name, "does not fit", "", "", "", "", ""])
            continue
        base_s = base_s or made["step_s"]
        ratio, kinds = ratios(made["fences"])
        schedule = made["schedule"] + ("_deep" if made["in_flight"] else "")
        lines.append([name, seconds(made["step_s"]),
                      f"{base_s / made['step_s']:.2f}",
                      f"{len(made['stages'])}, {schedule}", ratio, kinds,
                      f"{made['bottleneck']}, "
                      f"{100 * made['bottleneck_share']:.0f}%"])
        writer.append([model, testbed, name, made["step_s"]])
    return lines


def print_table(title, lines):
    print(f"\n### {title}\n")
    print("| " + " | ".join(lines[0]) + " |")
    print("|---" * len(lines[0]) + "|")
    for line in lines[1:]:
        print("| " + " | ".join(line) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--fusionllm",
                        default=str(ROOT / "build/release/bin/fusionllm"))
    parser.add_argument("--csv", help="write all step times here")
    parser.add_argument("--only", choices=["partitions", "compression"])
    arguments = parser.parse_args()
    writer = [["model", "testbed", "partition", "step_s"]]
    with tempfile.TemporaryDirectory() as folder:
        for model in MODELS:
            for testbed in TESTBEDS:
                title = f"{model} on {testbed}"
                if arguments.only != "compression":
                    print_table(title,
                                table(arguments.fusionllm,
                                      pathlib.Path(folder), model, testbed,
                                      writer))
                if arguments.only != "partitions":
                    print_table(f"{title}, with compression",
                                compression_table(arguments.fusionllm,
                                                  pathlib.Path(folder), model,
                                                  testbed, writer))
    if arguments.csv:
        with open(arguments.csv, "w", encoding="utf-8") as file:
            for cells in writer:
                file.write(",".join(str(cell) for cell in cells) + "\n")


if __name__ == "__main__":
    main()

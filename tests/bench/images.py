#!/usr/bin/env python3
"""Does a narrow ResNet-101 learn images over four ranks?

    tests/bench/images.py --program build/release/bin/fusionllm
        [--train FILE ... --test FILE] [--ranks 4] [--steps 200] [--csv FILE]

Trains ResNet-101 with an eighth of its channels on CIFAR-10's binary files, the
last of which is only for validation; without files on made-up images. Prints
the share of validation images that are put in the right class (chance: 10%)
after each fifth of the steps, and the images a second.
"""

import argparse
import csv
import json
import pathlib
import subprocess
import sys
import tempfile

INPUT = """
[run]
name = "bench-images"
seed = 1

[model]
kind = "resnet"
size = "{size}"
stem = "cifar"
image = {image}
classes = 10
channels = {channels}

[data]
{data}
mean = [0.4914, 0.4822, 0.4465]
deviation = [0.247, 0.2435, 0.2616]

[train]
steps = {steps}
batch = {batch}
micro_batches = 4
optimizer = "adamw"
weight_decay = 0.05
learning_rate = {learning_rate}
learning_rate_schedule = "cosine"
warmup_steps = 10
evaluate_every = {every}
"""

RECORD_BYTES = 3073  # of CIFAR-10: a label and 3 x 32 x 32 pixels


def describe_data(train, test):
    if not train:
        return 'kind = "synthetic_images"\nvalidation_fraction = 0.0005'
    sizes = [pathlib.Path(file).stat().st_size // RECORD_BYTES
             for file in (*train, test)]
    paths = json.dumps([str(pathlib.Path(file).resolve())
                        for file in (*train, test)])
    # A little more than the share, as it is rounded down.
    fraction = (sizes[-1] + 0.5) / sum(sizes)
    return (f'kind = "cifar10"\npath = {paths}\n'
            f"validation_fraction = {fraction}\ncrop_padding = 4\nflip = true")


def run(arguments, folder):
    source = folder / "input.toml"
    source.write_text(INPUT.format(
        data=describe_data(arguments.train, arguments.test),
        every=max(arguments.steps // 5, 1), **vars(arguments)))
    command = [arguments.mpiexec, "-np", str(arguments.ranks),
               "--oversubscribe", "--bind-to", "none", arguments.program,
               str(source), "--output", str(folder / "out")]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(command)}: {result.stderr}")
    text = (folder / "out/metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--program", required=True)
    parser.add_argument("--mpiexec", default="mpirun")
    parser.add_argument("--train", nargs="+", default=[])
    parser.add_argument("--test")
    parser.add_argument("--ranks", type=int, default=4)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", default="resnet101")
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--image", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--csv")
    arguments = parser.parse_args()
    if bool(arguments.train) != bool(arguments.test):
        parser.error("give both --train and --test, or neither")
    with tempfile.TemporaryDirectory(prefix="fusionllm-") as folder:
        lines = run(arguments, pathlib.Path(folder))
    evaluated = [line for line in lines if "validation_accuracy" in line]
    print("step  loss    validation loss  right")
    for line in evaluated:
        print(f"{line['step']:4}  {line['loss']:.4f}  "
              f"{line['validation_loss']:15.4f}  "
              f"{100 * line['validation_accuracy']:.1f} %")
    seconds = sum(line["step_s"] for line in lines)
    images = arguments.batch * len(lines)
    print(f"{images} images in {seconds:.1f} s of training: "
          f"{images / seconds:.1f} a second on {arguments.ranks} ranks")
    if arguments.csv:
        with open(arguments.csv, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["step", "loss", "validation_loss",
                             "validation_accuracy"])
            for line in evaluated:
                writer.writerow([line["step"], line["loss"],
                                 line["validation_loss"],
                                 line["validation_accuracy"]])


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Compare the last validation losses of pytorch_gpt.py and of a FusionLLM run.

    compare_quality.py PYTORCH.csv METRICS.jsonl

The exit status is 1 unless FusionLLM's is within 1% of PyTorch's and below 1.9
nats a byte. (The two draw other samples, so they are not equal.)
"""

import csv
import json
import sys

LARGEST_DIFFERENCE = 0.01
LARGEST_LOSS = 1.9


def losses_of_csv(path):
    """Validation loss by step."""
    with open(path, newline="") as file:
        return {
            int(row["step"]): float(row["validation_loss"])
            for row in csv.DictReader(file)
        }


def losses_of_metrics(path):
    """Validation loss by step, of the steps that have one."""
    with open(path) as file:
        lines = [json.loads(line) for line in file]
    return {
        line["step"]: line["validation_loss"]
        for line in lines
        if line.get("validation_loss") is not None
    }


def main():
    pytorch = losses_of_csv(sys.argv[1])
    fusionllm = losses_of_metrics(sys.argv[2])
    common = sorted(set(pytorch) & set(fusionllm))
    if not common:
        sys.exit("the two runs have no evaluated step in common")
    print("step    PyTorch  FusionLLM  ratio")
    for step in common:
        ratio = fusionllm[step] / pytorch[step]
        print(
            "%6d  %7.4f  %9.4f  %.4f"
            % (step, pytorch[step], fusionllm[step], ratio)
        )
    last = common[-1]
    ratio = fusionllm[last] / pytorch[last]
    is_close = abs(ratio - 1) <= LARGEST_DIFFERENCE
    is_low = fusionllm[last] < LARGEST_LOSS
    print("within 1%%: %s; below 1.9 nats: %s" % (is_close, is_low))
    sys.exit(0 if is_close and is_low else 1)


if __name__ == "__main__":
    main()

"""The cells of convergence.py: which tasks are trained with which codecs."""

import dataclasses
import re

from convergence_plans import DEEP_BLOCKS

BLOCKS = {"all": (0, 1, 2), "one": (1,), "first": (0,), "last": (2,)}


@dataclasses.dataclass(frozen=True)
class Task:
    source: str
    steps: int
    evaluate_every: int
    settings: tuple = ()
    data: str = ""  # "text", "images", or made up by the program
    planned: str = ""  # the model of evaluation.py whose plans it tries


TASKS = {
    "text": Task("convergence_text.toml", 1000, 250, data="text"),
    "k_hop": Task("k_hop.toml", 1500, 500),
    "wide": Task("k_hop.toml", 1500, 500,
                 ("model.width=256", "train.learning_rate=1e-3")),
    "short": Task("convergence_text.toml", 700, 350, ("model.context=64",),
                  data="text"),
    "deep": Task("deep.toml", 1500, 500, planned="GPT-2 XL"),
    "images": Task("convergence_images.toml", 400, 100, data="images",
                   planned="ResNet-101"),
}
RULES = ("adaptive", "uniform top-k 100", "AdaTopK as we read it")


@dataclasses.dataclass(frozen=True)
class Cell:
    task: str
    label: str  # "dense", a control, or a codec
    fences: str = "none"  # a key of BLOCKS, "plan" or "rule"
    seed: int = 1
    settings: tuple = ()
    share: float = 1  # of the task's steps

    @property
    def name(self):
        words = re.sub(r"[^A-Za-z0-9_.+]+", "-", self.label).strip("-")
        return f"{self.task}-{words}-{self.fences}-{self.seed}"

    def steps(self, steps):
        return max(1, round((steps or TASKS[self.task].steps) * self.share))


def control(task, block, restart):
    """Nothing but token ids crosses ("embedding"), or nothing at all."""
    label = {"embedding": "cut", "zeros": "zeros"}[restart]
    name = block if TASKS[task].data == "images" else f"h.{block}"
    return Cell(task, f"{label} after {name}",
                settings=("compression.rule=cut",
                          f"compression.cut_after={name}",
                          f"compression.restart={restart}"),
                # Who sees nothing learns how often each token is, at once.
                share=0.1 if restart == "zeros" else 1)


def planned(rule, testbed, task="deep"):
    """The fences of OP-Fence's plan for a testbed, of the large model."""
    return Cell(task, f"{rule} on {testbed}", "plan")


def dense_for(cell):
    """What a cell is compared with in time."""
    if cell.fences == "plan":
        return planned("dense", cell.label.split(" on ")[1], cell.task)
    if cell.fences == "rule":
        return Cell(cell.task, "dense", "rule")
    return Cell(cell.task, "dense")


TOP_16, TOP_100 = "top_k(2.8,int4)", "top_k(22.5,int4)"
# More bits for larger components: 8x, 16x and 32x, and 68x and 104x of 128
# columns, 103x of 256.
GRADED_8, GRADED_16 = "subspace(1.1,graded)", "subspace(2.2,graded)"
GRADED_32 = "subspace(4.5,graded5)"
# At 16x, too, activations with a bit of the gradients'.
FINE_16 = "subspace(2.2,graded5)"
GRADED_68, GRADED_104 = "subspace(10,graded5)", "subspace(16,graded5)"
WIDE_100 = "subspace(15,graded5)"
# Of 64 columns, for which the bits of a row are more: 66x and 110x.
NARROW, NARROW_100 = "subspace(10.7,graded5)", "subspace(20,graded5)"
# The study's own codec at 101x.
STUDYS_101 = "subspace(16,int4)"
# What errors of one direction alone cost (docs/decisions/what-errors-cost.md).
PRICES = ("fp32/int4s", "fp32/int3s", "fp32/int2s", "int4/fp32", "int3/fp32",
          "int2/fp32")
TESTBEDS = ("homes-48", "continents-48", "cloud-48", "campus-48")
# Where baselines with codecs are predicted to be faster than ours with adaptive.
IMAGE_TESTBEDS = ("campus-48", "cluster")


def cells():
    """In the order of importance: k_hop and deep before text, which cannot tell
    codecs from its controls, and short, which cannot either, but costs little.
    """
    def task(name):
        return lambda label, fences="all", seed=1: Cell(
            name, label, fences, seed)

    hops, wide, text, short = map(task, ("k_hop", "wide", "text", "short"))
    graded = (GRADED_8, GRADED_16, GRADED_32, GRADED_104)
    narrow = (GRADED_8, GRADED_16, GRADED_32, NARROW)
    return list(dict.fromkeys([
        hops("dense", "none"), control("k_hop", 2, "embedding"),
        hops("int8"), *[hops(label) for label in narrow],
        *[hops(label, "rule") for label in RULES],
        Cell("deep", "dense"),
        control("deep", DEEP_BLOCKS - 2, "embedding"),
        *[planned("adaptive", testbed) for testbed in TESTBEDS],
        wide("dense", "none"), control("wide", 2, "embedding"),
        *[wide(label) for label in (WIDE_100, GRADED_16)],
        *[wide(label, "one") for label in (WIDE_100, GRADED_16)],
        *[wide(label, "last") for label in (WIDE_100, GRADED_16)],
        *[wide(label, "none" if label == "dense" else "all", seed)
          for seed in (2, 3) for label in ("dense", WIDE_100, GRADED_16)],
        *[hops(label, "none" if label == "dense" else "all", seed)
          for seed in (2, 3) for label in ("dense", "int8", *narrow)],
        *[hops(label, "one") for label in narrow],
        *[hops(label, "last") for label in narrow],
        *[Cell("deep", "dense", seed=seed) for seed in (2, 3)],
        *[dataclasses.replace(planned("adaptive", testbed), seed=seed)
          for seed in (2, 3) for testbed in TESTBEDS[:2]],
        *[planned(rule, "homes-48") for rule in RULES[1:]],
        Cell("images", "dense"), control("images", "layer4.1", "zeros"),
        *[planned(rule, testbed, "images") for rule in RULES
          for testbed in IMAGE_TESTBEDS],
        *[hops(label) for label in PRICES],
        hops("int8/int4s"), hops("int4/int4s"), hops("paper(48)"),
        hops(TOP_100), hops(TOP_16), hops(TOP_100, "one"),
        *[hops("adaptive", "rule", seed) for seed in (2, 3)],
        *[hops(FINE_16, seed=seed) for seed in (1, 2, 3)],
        hops(NARROW_100), hops(NARROW_100, "last"),
        *[hops(label) for label in (f"{TOP_16}+feedback",
                                    "top_k_row(21,int4)", "int4")],
        control("k_hop", 1, "embedding"), control("k_hop", 2, "zeros"),
        control("wide", 1, "embedding"), control("wide", 2, "zeros"),
        control("deep", DEEP_BLOCKS - 2, "zeros"),
        control("short", 2, "zeros"),
        text("dense", "none"), control("text", 2, "embedding"),
        *[text(label) for label in graded],
        *[text(label, "rule") for label in RULES],
        *[text(label, "one") for label in (GRADED_16, GRADED_104)],
        control("text", 2, "zeros"), text("int8"), text("int4/int4s"),
        text("paper(48)"), text(TOP_100), text(FINE_16),
        short("dense", "none"), control("short", 2, "embedding"),
        *[short(label) for label in ("int8", *graded, GRADED_68, "int4",
                                     TOP_16, TOP_100, STUDYS_101)],
        *[short(TOP_100, fences) for fences in ("one", "first", "last")],
        *[text(label, "none" if label == "dense" else "all", seed)
          for seed in (2, 3) for label in ("dense", *graded)],
        *[text(FINE_16, seed=seed) for seed in (2, 3)],
        control("text", 1, "embedding"),
    ]))

"""Tables and a plot of the plans that evaluation.py makes."""

import csv
import dataclasses
import math
import statistics

BASELINES = ("equal_ops", "equal_flops", "equal_memory")
# Baselines that compress without asking what it does to the model.
STRONG = ("uniform top-k 100", "AdaTopK as we read it")
HEAD = ("<!-- Made by tests/bench/evaluation.py; edit that. How to read it: "
        "../evaluation.md. -->\n")


@dataclasses.dataclass(frozen=True)
class Row:
    model: str
    testbed: str
    partition: str
    order: str
    compression: str
    step_s: float  # median of the orders; NaN where nothing fits
    free_links_s: float = math.nan  # step of the same plan
    wan_bytes: float = math.nan  # of a step, between sites
    byte_ratio: float = 1  # median of the fences' values
    most_byte_ratio: float = 1
    stages: int = 0
    schedule: str = ""
    codecs: str = ""
    bottleneck: str = ""
    # What its codecs' errors are taken to cost, as a share of the steps.
    more_steps: float = 0
    # Bytes of a step by (from, to), names of different sites.
    link_bytes: dict = dataclasses.field(default_factory=dict, compare=False)

    @property
    def wan_tax(self):
        return self.step_s / self.free_links_s

    @property
    def charged_s(self):
        """Its step and its share of the steps that errors cost, one more at
        most: prices are known for small errors only."""
        return self.step_s * (1 + min(self.more_steps, 1))


def row_of(model, testbed, partition, order, compression, plans):
    """The plan with the median step time."""
    fits = [plan for plan in plans if plan is not None]
    name = (model, testbed.name, partition, order, compression)
    if not fits:
        return Row(*name, math.nan)
    step_s = statistics.median(plan["step_s"] for plan in fits)
    plan = min(fits, key=lambda plan: abs(plan["step_s"] - step_s))
    link_bytes = between_sites(plan["links"], testbed.site_of_devices())
    ratios = [fence["byte_ratio"] for fence in plan["fences"]] or [1]
    return Row(
        *name, step_s,
        plan["parts"]["compute_s"] + plan["parts"]["bubble_s"],
        sum(link_bytes.values()), statistics.median(ratios), max(ratios),
        len(plan["stages"]),
        plan["schedule"] + ("_deep" if plan["in_flight"] else ""),
        codecs_of(plan["fences"]),
        f"{plan['bottleneck']}, {100 * plan['bottleneck_share']:.0f}%",
        plan["more_steps_for_errors"], link_bytes)


def between_sites(links, site):
    """Bytes by the sites they go from and to."""
    sums = {}
    for link in links:
        pair = site[link["from"]], site[link["to"]]
        if pair[0] != pair[1]:
            sums[pair] = sums.get(pair, 0) + link["bytes"]
    return sums


def codecs_of(fences):
    kinds = {}
    for fence in fences:
        kind = fence["codec"].split("(")[0]
        kinds[kind] = kinds.get(kind, 0) + 1
    most = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {kind}" for kind, count in most)


def seconds(value):
    return "does not fit" if math.isnan(value) else f"{value:.3g} s"


def times(value):
    return "" if math.isnan(value) else f"{value:.3g}"


def more_steps(row):
    """As `fusionllm plan` says it."""
    if row.more_steps == 0:
        return ""
    if row.more_steps < 1:
        return f"+{100 * row.more_steps:.2g}%"
    return "twice or more"


def table_of(cells):
    lines = ["| " + " | ".join(cells[0]) + " |",
             "|" + "---|" * len(cells[0])]
    return lines + ["| " + " | ".join(row) + " |" for row in cells[1:]]


def testbed_table(rows):
    base = next(row for row in rows if row.partition == "equal_ops"
                and row.order == "given" and row.compression == "dense")
    cells = [["partition", "compression", "step", "speed-up",
              "steps for errors", "WAN tax",
              "MB between sites", "byte ratio, median (most)", "codecs",
              "stages, schedule", "bottleneck"]]
    for row in rows:
        order = ", random" if row.order == "random" else ""
        ratio = "" if not row.codecs else (
            f"{row.byte_ratio:.3g} ({row.most_byte_ratio:.3g})")
        cells.append([
            row.partition + order, row.compression, seconds(row.step_s),
            times(base.step_s / row.step_s), more_steps(row),
            times(row.wan_tax),
            times(row.wan_bytes / 1e6), ratio, row.codecs,
            f"{row.stages}, {row.schedule}" if row.stages else "",
            row.bottleneck])
    return table_of(cells)


def least(rows, partitions, compressions, key=lambda row: row.step_s):
    """The fastest of these, or of the least key; None where nothing fits."""
    fits = [row for row in rows if row.partition in partitions
            and row.compression in compressions
            and not math.isnan(row.step_s)]
    return min(fits, key=key, default=None)


def summary_table(testbeds, bounds):
    cells = [["testbed", "equal_ops", "best baseline", "best baseline, adaptive",
              "best baseline, uniform or paper", "OP-Fence",
              "OP-Fence, adaptive", "speed-up over equal_ops, dense",
              "over the best baseline, dense", "adaptive, too",
              "uniform or paper", "with steps for errors, at most twice", "WAN tax",
              "bound", "of the bound"]]
    for (model, name), rows in testbeds.items():
        first, baseline, adaptive, strong, dense, ours = (
            least(rows, partitions, compressions)
            for partitions, compressions in (
                (("equal_ops",), ("dense",)), (BASELINES, ("dense",)),
                (BASELINES, ("adaptive",)), (BASELINES, STRONG),
                (("op_fence",), ("dense",)), (("op_fence",), ("adaptive",))))
        if ours is None:
            cells.append([name, *["does not fit"] * 6, *[""] * 8])
            continue
        step_s = [math.nan if row is None else row.step_s
                  for row in (first, baseline, adaptive, strong, dense, ours)]
        charged = least(rows, BASELINES, STRONG, lambda row: row.charged_s)
        cells.append([
            name, *map(seconds, step_s),
            *(times(value / ours.step_s) for value in step_s[:4]),
            "" if charged is None else times(
                charged.charged_s / ours.charged_s),
            f"{ours.wan_tax:.3g}", seconds(bounds[model, name]),
            times(ours.step_s / bounds[model, name])])
    return table_of(cells)


def write_csv(rows, path):
    fields = [field.name for field in dataclasses.fields(Row)
              if field.name != "link_bytes"]
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(fields)
        for row in rows:
            writer.writerow([getattr(row, name) for name in fields])


def write_links(rows, path):
    """Bytes of a step over each link between sites."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["model", "testbed", "partition", "compression",
                         "from", "to", "bytes"])
        for row in rows:
            if row.order == "given":
                for pair, bytes_ in sorted(row.link_bytes.items()):
                    writer.writerow([row.model, row.testbed, row.partition,
                                     row.compression, *pair, int(bytes_)])


def draw(testbeds, bounds, path):
    import matplotlib
    matplotlib.use("Agg")
    # The same file for the same figures.
    matplotlib.rcParams["svg.hashsalt"] = "evaluation"
    import matplotlib.pyplot as plt
    models = list(dict.fromkeys(model for model, _ in testbeds))
    figure, axes = plt.subplots(len(models), 1, squeeze=False,
                                figsize=(9, 3.4 * len(models)))
    bars = [("equal_ops", ("equal_ops",), "dense", "#9e9e9e"),
            ("best baseline", BASELINES, "dense", "#c8a46a"),
            ("best baseline, adaptive", BASELINES, "adaptive", "#e0c9a0"),
            ("OP-Fence", ("op_fence",), "dense", "#7fa8d1"),
            ("OP-Fence, adaptive", ("op_fence",), "adaptive", "#1f5fa8")]
    for model, axis in zip(models, axes[:, 0]):
        names = [name for other, name in testbeds if other == model]
        for place, (label, partitions, rule, colour) in enumerate(bars):
            found = [least(testbeds[model, name], partitions, (rule,))
                     for name in names]
            axis.bar([x + 0.16 * (place - 2) for x in range(len(names))],
                     [math.nan if row is None else row.step_s
                      for row in found], 0.15, label=label, color=colour)
        for x, name in enumerate(names):
            axis.plot([x - 0.42, x + 0.42], 2 * [bounds[model, name]], "k-",
                      linewidth=1, label="bound" if x == 0 else None)
        axis.set_xticks(range(len(names)), names)
        axis.set_yscale("log")
        axis.set_ylabel("predicted step, s")
        axis.set_title(model)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), ncol=6,
                  fontsize=8, loc="upper center")
    figure.tight_layout(rect=(0, 0, 1, 0.96))
    figure.savefig(path, metadata={"Date": None})


def write(rows, bounds, folder):
    folder.mkdir(parents=True, exist_ok=True)
    testbeds = {}
    for row in rows:
        testbeds.setdefault((row.model, row.testbed), []).append(row)
    lines = [HEAD, "# Plans for the testbeds", ""]
    for model in dict.fromkeys(row.model for row in rows):
        lines += [f"## {model}", "", *summary_table(
            {key: rows for key, rows in testbeds.items() if key[0] == model},
            bounds), ""]
    for (model, name), group in testbeds.items():
        lines += [f"## {model} on {name}", "", *testbed_table(group), ""]
    (folder / "plans.md").write_text("\n".join(lines[:-1]) + "\n")
    write_csv(rows, folder / "plans.csv")
    write_links(rows, folder / "plans-links.csv")
    try:
        draw(testbeds, bounds, folder / "plans.svg")
    except ImportError:
        print("no plot: matplotlib was not found")

"""Real runs over shaped lines; needs root and namespaces, else exit status 77."""

import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import tomllib
import unittest

parser = argparse.ArgumentParser()
for name in ("--netlab", "--program", "--mpiexec"):
    parser.add_argument(name, required=True)
tools, rest = parser.parse_known_args()

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent
STREAM = SOURCE / "src/tools/netlab/stream.py"
TWO_SITES = SOURCE / "jobs/two-sites.sh"

# What a netlab is made of, tried by hand: a failure of our own must not look
# like a machine that has none of it.
PROBE = """
ip link add w0 type veth peer name w1 && ip tuntap add d0 mode tun &&
tc qdisc add dev w0 root handle 1: htb &&
tc class add dev w0 parent 1: classid 1:1 htb rate 8mbit &&
tc qdisc add dev w0 parent 1:1 bfifo limit 100000 &&
tc filter add dev w0 parent 1: protocol ip u32 match ip src 10.0.0.0/8 \\
    flowid 1:1
"""

TESTBED = """
sites = [{name = "lyon", ranks = 1}, {name = "osaka", ranks = 1}]
default_link = {bandwidth = "20 Mbit/s", latency = "5 ms"}
"""
INPUT = """
[model]
layers = 2
width = 64
context = 64
vocabulary = 64
tie_embeddings = false
[data]
kind = "synthetic"
[train]
steps = 4
batch = 8
micro_batches = 4
[plan]
partition = "equal_ops"
[topology]
file = "testbed.toml"
"""


def why_not():
    """A sentence, if this machine cannot have a netlab."""
    if os.geteuid() != 0:
        return "a netlab needs root"
    try:
        result = subprocess.run(
            ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--net",
             "sh", "-c", PROBE], capture_output=True, text=True)
    except FileNotFoundError as error:
        return f"{error.filename} not found"
    return result.stderr.strip() if result.returncode != 0 else ""


def namespaces():
    """(network namespaces, process namespaces) of all processes."""
    found = (set(), set())
    for entry in pathlib.Path("/proc").iterdir():
        for kind, names in zip(("net", "pid"), found):
            try:
                names.add(os.readlink(entry / "ns" / kind))
            except OSError:
                pass  # ended, or no process
    return found


def mounts():
    return pathlib.Path("/proc/self/mountinfo").read_text()


def go_first():
    """Other programs' load must not make ranks late that only wait."""
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        pass


def dense_bytes(row):
    return sum(fence["bytes"] * fence["byte_ratio"] for fence in row["fences"])


def sent_bytes(row):
    return sum(fence["bytes"] for fence in row["fences"])


class Netlab(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="fusionllm-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        (self.folder / "testbed.toml").write_text(TESTBED)
        (self.folder / "input.toml").write_text(INPUT)
        self.mounts = mounts()

    def start(self, *words, options=(), preexec_fn=None):
        process = subprocess.Popen(
            [tools.netlab, self.folder / "testbed.toml", *options, "--",
             *words], cwd=self.folder, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            preexec_fn=preexec_fn)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        return process

    def run_lab(self, *words, options=(), status=0, preexec_fn=None):
        process = self.start(*words, options=options, preexec_fn=preexec_fn)
        output = process.communicate(timeout=150)[0]
        self.assertEqual(process.returncode, status, output)
        return output

    def train(self, *mpi_options):
        return [tools.mpiexec, "-np", "2", *mpi_options, tools.program,
                "input.toml", "--output", "out", "--overwrite"]

    def counts(self):
        lines = json.loads((self.folder / "counts.json").read_text())["lines"]
        return {(line["from"], line["to"]): line["bytes"] for line in lines}

    def start_and_see(self, *words):
        """A lab whose command runs, and the namespaces it has made."""
        before = namespaces()
        process = self.start("sh", "-c", "echo here; " + " ".join(words))
        self.assertEqual(process.stdout.readline(), "here\n")
        made = [now - old for now, old in zip(namespaces(), before)]
        self.assertTrue(made[0] and made[1])
        return process, made

    def assert_gone(self, made):
        end = time.monotonic() + 20
        while any(now & mine for now, mine in zip(namespaces(), made)):
            self.assertLess(time.monotonic(), end, "processes are left")
            time.sleep(0.05)
        self.assertEqual(mounts(), self.mounts)

    def test_training_crosses_the_lines_over_ob1(self):
        self.check_training("ob1")

    def test_training_crosses_the_lines_over_ucx(self):
        self.check_training("ucx")

    def check_training(self, pml):
        output = self.run_lab(*self.train("--mca", "pml", pml),
                              options=["--counts", "counts.json"])

        # As many activations one way as gradients the other way.
        sent = int(re.search(r"^lyon - osaka +(\d+)", output,
                             re.MULTILINE).group(1)) / 2
        self.assertGreater(sent, 1e6)
        counts = self.counts()
        for pair in (("lyon", "osaka"), ("osaka", "lyon")):
            self.assertGreater(counts[pair], sent)
            self.assertLess(counts[pair], 1.2 * sent)
        self.assertEqual(mounts(), self.mounts)

    def test_a_step_takes_as_long_as_emulated_over_ob1(self):
        self.check_step_seconds("ob1")

    def test_a_step_takes_as_long_as_emulated_over_ucx(self):
        self.check_step_seconds("ucx")

    def check_step_seconds(self, pml):
        self.run_lab(*self.train("--mca", "pml", pml),
                     "--set", "network.mode=emulated",
                     "--set", "network.compute=waits",
                     "--set", "train.steps=10", preexec_fn=go_first)

        lines = (self.folder / "out/metrics.jsonl").read_text().splitlines()
        steps = [json.loads(line) for line in lines]
        # The shortest, for TCP must first find out how fast the line is.
        ratio = min(step["step_s"] / step["emulated_step_s"] for step in steps)
        self.assertGreater(ratio, 0.8)
        self.assertLess(ratio, 1.2)

    def test_the_probe_finds_the_lines_and_its_file_plans(self):
        lines = {("lyon", "osaka"): 8, ("osaka", "lyon"): 20}
        links = [f'{{from = "{a}", to = "{b}", bandwidth = "{rate} Mbit/s", '
                 'latency = "25 ms"}' for (a, b), rate in lines.items()]
        (self.folder / "testbed.toml").write_text(
            'sites = [{name = "lyon", ranks = 1}, {name = "osaka", ranks = 1}]'
            f"\nlinks = [{', '.join(links)}]\n")

        # Without an input: the sites are the hosts.
        self.run_lab(tools.mpiexec, "-np", "2", tools.program, "probe",
                     "-o", "found.toml", options=["--counts", "counts.json"],
                     preexec_fn=go_first)

        found = tomllib.loads((self.folder / "found.toml").read_text())
        self.assertEqual(found["sites"], [{"name": "lyon", "ranks": 1},
                                          {"name": "osaka", "ranks": 1}])
        self.assertEqual(len(found["links"]), 2)
        for link in found["links"]:
            rate = lines[link["from"], link["to"]]
            number, unit = link["bandwidth"].split()
            found_rate = float(number) * {"Mbit/s": 1, "kbit/s": 1e-3}[unit]
            self.assertAlmostEqual(found_rate, rate, delta=0.15 * rate)
            number, unit = link["latency"].split()
            self.assertEqual(unit, "ms")
            self.assertAlmostEqual(float(number), 25, delta=10)
        self.assertLess(self.counts()["lyon", "osaka"], 2.5e6)
        subprocess.run([tools.program, "plan", "input.toml", "--set",
                        "topology.file=found.toml"], cwd=self.folder,
                       check=True, capture_output=True)

    def test_two_sites_sh_trains_over_ob1(self):
        self.check_two_sites("ob1", "10.77.0.0/16")

    def test_two_sites_sh_trains_over_ucx(self):
        self.check_two_sites("ucx", "wan0")

    def check_two_sites(self, pml, network):
        # Without what netlab tells mpirun: the script must say all of it.
        forget = "unset $(env | sed -n 's/^\\(OMPI_MCA_[^=]*\\)=.*/\\1/p')"
        variables = (f"FUSIONLLM_RSH=$FUSIONLLM_NETLAB_EXEC FUSIONLLM_PML={pml}"
                     f" FUSIONLLM_NETWORK={network}"
                     f" FUSIONLLM_PROGRAM={tools.program}"
                     " FUSIONLLM_HOSTS='lyon:1 osaka:1'")
        output = self.run_lab(
            "sh", "-c", f"{forget} UCX_TLS UCX_NET_DEVICES; {variables} "
            f"{TWO_SITES} input.toml --output out --set train.steps=2",
            options=["--counts", "counts.json"])

        sent = int(re.search(r"^lyon - osaka +(\d+)", output,
                             re.MULTILINE).group(1)) / 2
        self.assertGreater(min(self.counts().values()), sent)

    def test_ranks_are_at_the_sites_of_their_devices(self):
        output = self.run_lab(
            tools.mpiexec, "-np", "2", "--tag-output", "hostname")

        self.assertIn("[1,0]<stdout>:lyon\n", output)
        self.assertIn("[1,1]<stdout>:osaka\n", output)

    def test_two_labs_of_one_testbed_do_not_meet(self):
        one, other = [self.start("sh", "-c", "hostname; sleep 0.5")
                      for _ in range(2)]

        for process in (one, other):
            self.assertIn("lyon\n", process.communicate(timeout=150)[0])
            self.assertEqual(process.returncode, 0)

    def test_a_command_that_fails_gives_its_status(self):
        self.run_lab("sh", "-c", "exit 7", status=7)
        self.run_lab("sh", "-c", "kill -KILL $$", status=137)

    def test_ctrl_c_ends_the_ranks_and_leaves_nothing(self):
        process, made = self.start_and_see(
            "exec", *self.train("--mca", "pml", "ob1"),
            "--set", "train.steps=100000")
        while line := process.stdout.readline():
            if line.startswith("step "):
                break
        self.assertTrue(line)

        process.send_signal(signal.SIGINT)
        process.communicate(timeout=40)

        self.assertNotEqual(process.returncode, 0)
        self.assert_gone(made)

    def test_a_killed_netlab_takes_all_with_it(self):
        process, made = self.start_and_see("sleep 1000 & sleep 1000")

        process.kill()

        self.assert_gone(made)

    def test_what_the_command_leaves_behind_ends_with_it(self):
        process, made = self.start_and_see("setsid sleep 1000 & exit 3")

        self.assertEqual(process.wait(20), 3)
        self.assert_gone(made)

    def test_a_line_can_be_slowed_and_cut_while_the_command_runs(self):
        # 100,000 bytes a second from the start, and nothing at all for 1.5 s.
        script = (f"$FUSIONLLM_NETLAB_EXEC osaka '{sys.executable} {STREAM} "
                  "serve 10.77.1.1 >/dev/null' & sleep 0.5; date +%s.%N; "
                  f"{sys.executable} {STREAM} ask 10.77.1.1 100000; "
                  "date +%s.%N")

        output = self.run_lab("sh", "-c", script, options=[
            "--at", "0s:lyon>osaka=0.8Mbit/s",
            "--at", "0.1s:lyon-osaka=down:2s"])

        begin, answer, end = [line.split() for line in output.splitlines()
                              if line[:1].isdigit()]
        self.assertLess(float(answer[1]), 150000, output)
        self.assertGreater(float(end[0]) - float(begin[0]), 2.0, output)
        self.assertIn("lyon-osaka is up again", output)

    def test_cuts_of_a_line_may_overlap(self):
        # Datagrams, which nobody sends again: ten while the longer cut lasts
        # and the shorter one ends, ten after both.
        send = ("import socket, time; "
                "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                "for i in range(20):\n"
                "    time.sleep(2.5 if i == 10 else 0.1)\n"
                "    s.sendto(bytes(1000), ('10.77.1.1', 9))")

        output = self.run_lab(
            sys.executable, "-c", send,
            options=["--at", "0s:lyon-osaka=down:3s",
                     "--at", "0.1s:lyon>osaka=down:0.2s",
                     "--counts", "counts.json"])

        self.assertIn("lyon>osaka is up again, but for another cut", output)
        self.assertIn("lyon-osaka is up again\n", output)
        sent = self.counts()["lyon", "osaka"]
        self.assertGreater(sent, 10 * 1000, output)
        self.assertLess(sent, 11 * 1000, output)

    def test_a_change_that_fails_ends_the_command_in_good_order(self):
        break_line = "tc -n .router qdisc del dev w1 root"

        output = self.run_lab(
            "sh", "-c", f"trap 'echo told; exit 9' TERM; {break_line}; "
            "sleep 30 & wait",
            options=["--at", "2s:lyon>osaka=1Mbit/s",
                     "--counts", "counts.json"], status=2)

        self.assertIn("told\n", output)
        self.assertRegex(output, "fusionllm-netlab: `tc .*` failed: ")
        self.assertNotIn("Traceback", output)
        self.assertIn(("osaka", "lyon"), self.counts())

    def test_a_line_that_slows_down_has_the_queue_of_its_new_rate(self):
        (self.folder / "testbed.toml").write_text(
            TESTBED.replace("20 Mbit/s", "80 Mbit/s"))
        show = "tc -j -n .router qdisc show dev w1"

        output = self.run_lab(
            "sh", "-c", f"{show}; for i in $(seq 40); do sleep 0.1; "
            f"{show} | grep '131072.*131072' && break; done",
            options=["--at", "2s:lyon>osaka=0.8Mbit/s"])

        limits = [[qdisc["options"]["limit"] for qdisc in json.loads(line)
                   if qdisc.get("kind") == "bfifo"]
                  for line in output.splitlines() if line.startswith("[")]
        self.assertEqual(limits, [[600000] * 2, [131072] * 2], output)

    def test_a_share_of_a_line_is_of_the_rates_that_it_had(self):
        # Little of 80 Mbit/s, but more than all of 0.08 Mbit/s.
        (self.folder / "testbed.toml").write_text(
            TESTBED.replace("20 Mbit/s", "80 Mbit/s"))
        script = (f"$FUSIONLLM_NETLAB_EXEC osaka '{sys.executable} {STREAM} "
                  "serve 10.77.1.1 >/dev/null' & sleep 0.5; "
                  f"{sys.executable} {STREAM} ask 10.77.1.1 200000; sleep 2")

        output = self.run_lab("sh", "-c", script, options=[
            "--at", "2s:lyon>osaka=0.08Mbit/s"])

        share = float(re.search(r"lyon to osaka .* ([0-9.]+)% of the line",
                                output).group(1))
        self.assertGreater(share, 0.2, output)
        self.assertLess(share, 20.0, output)

    def test_codecs_follow_a_line_that_slows_down_and_recovers(self):
        """Over real TCP, whose buffers hide how slow a line is."""
        (self.folder / "testbed.toml").write_text(
            TESTBED.replace("20 Mbit/s", "80 Mbit/s"))
        interval = 2
        process = self.start(
            *self.train(), "--set", "train.steps=100000",
            "--set", "model.width=128", "--set", "train.batch=16",
            "--set", "train.evaluate_every=0", "--set", "checkpoint.every=0",
            "--set", "compression.rule=adaptive",
            "--set", "compression.adapt=on",
            "--set", f"compression.measure_every={interval}",
            options=["--at", "10s:lyon-osaka=1.6Mbit/s",
                     "--at", "20s:lyon-osaka=80Mbit/s"])

        def rows():
            path = self.folder / "out/metrics.jsonl"
            text = path.read_text() if path.exists() else ""
            # The last line may not be whole yet.
            return [json.loads(line) for line in text.splitlines(True)
                    if line.endswith("\n")]

        def ratios(since=0):
            return [(row["step"], dense_bytes(row) / sent_bytes(row))
                    for row in rows()
                    if row.get("fences") and row["step"] > since]

        def wait_for(condition, what):
            end = time.monotonic() + 60
            while not (found := condition()):
                self.assertIsNone(process.poll(), f"ended before {what}")
                self.assertLess(time.monotonic(), end,
                                f"no {what}: {ratios()[-50:]} {rates()[-50:]}")
                time.sleep(0.1)
            return found

        def rates():
            return [(row["step"], min(fence["link_bytes_per_s"]
                                      for fence in row["fences"]))
                    for row in rows() if row.get("fences")]

        # 80 and 1.6 Mbit/s; cores that others use make some trials slower.
        slowed = wait_for(lambda: next((step for step, rate in rates()
                                        if rate < 1e6), None), "slow line")
        before = [rate for step, rate in rates() if step < slowed]
        self.assertGreater(statistics.median(before), 5e6, rates())
        self.assertLess(statistics.median(before), 15e6, rates())
        usual = statistics.median(ratio for step, ratio in ratios(3)
                                  if step < slowed)
        changed = wait_for(
            lambda: next((step for step, ratio in ratios(slowed)
                          if ratio > 1.5 * usual), None), "stronger codecs")
        self.assertLessEqual(changed - slowed, 3 * interval, ratios())
        # A message with a new basis is longer, too, but not four in a row.
        wait_for(lambda: all(
            ratio < max(other for _, other in ratios(slowed)) / 1.5
            for _, ratio in ratios()[-4:]), "milder codecs")
        self.assertGreater(rates()[-1][1], 1e6)
        losses = [row["loss"] for row in rows()]
        self.assertLess(statistics.mean(losses[-5:]),
                        0.8 * statistics.mean(losses[:5]))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)

    def test_a_wrong_testbed_is_a_sentence(self):
        (self.folder / "testbed.toml").write_text("sites = []")

        output = self.run_lab("true", status=2)

        self.assertIn("there are no sites", output)
        self.assertNotIn("Traceback", output)

    def test_counts_that_cannot_be_written_are_refused_before_the_command(self):
        for path in ("missing/counts.json", "."):
            output = self.run_lab("echo", "ran", options=["--counts", path],
                                  status=2)

            self.assertIn(f"--counts {path} cannot be written: ", output)
            self.assertNotIn("ran\n", output)
            self.assertNotIn("Traceback", output)

    def test_counts_that_fail_after_the_command_leave_its_status(self):
        output = self.run_lab("sh", "-c", "exit 75", status=75,
                              options=["--counts", "/dev/full"])

        self.assertIn("--counts /dev/full cannot be written: No space", output)
        self.assertIn("netlab: bytes on the lines", output)
        self.assertNotIn("Traceback", output)

    def test_without_root_it_says_so(self):
        if not shutil.which("setpriv"):
            self.skipTest("setpriv not found")
        self.folder.chmod(0o755)
        result = subprocess.run(
            ["setpriv", "--reuid=65534", "--clear-groups", tools.netlab,
             self.folder / "testbed.toml", "--", "true"],
            capture_output=True, text=True)

        if "Permission denied" in result.stderr:
            self.skipTest("others cannot read this build")
        self.assertEqual(result.returncode, 2, result.stderr)
        self.assertIn("needs root", result.stderr)


if __name__ == "__main__":
    reason = why_not()
    if reason:
        print(f"SKIPPED: no network namespaces here: {reason}")
        sys.exit(77)
    unittest.main(argv=[sys.argv[0], "--verbose", *rest])

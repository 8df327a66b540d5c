"""A rank that is killed ends the run at once, and nothing is lost."""

import os
import pathlib
import re
import signal
import time

import harness

LONG = ("--set", "train.steps=100000", "--set", "train.evaluate_every=0")
DEATH = (r"rank (\d+) \(pid (\d+), host [^)]*\) died in step \d+ while \S+"
         r"[^;\n]* of stage (\d+); continue with --resume from the last "
         r"checkpoint")

HANG = (r"(?m)^fusionllm: (rank [01] waits \S+ s in the checkpoint of step \d+ "
        r"for rank 2, which .+|rank 2 \(host \S+\) .* the checkpoint of step "
        r"\d+ for .+) \(stopped\)$")


def is_writing(pid):
    """Whether that rank has the file of a checkpoint open."""
    for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(entry).endswith(".h5.tmp"):
                return True
        except FileNotFoundError:
            pass  # closed meanwhile
    return False


def stop_while_it_writes(pid, limit_s=60):
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        if is_writing(pid):
            os.kill(pid, signal.SIGSTOP)
            time.sleep(0.1)
            if is_writing(pid):
                return
            os.kill(pid, signal.SIGCONT)
    raise AssertionError(f"wrote no checkpoint in {limit_s} s")


class KillTest(harness.ProgramTest):
    def test_a_killed_rank_is_named_and_the_run_can_go_on(self):
        for victim in (2, 0):
            with self.subTest(victim=victim):
                self.check_kill(victim, f"killed-{victim}", f"one-{victim}")

    def test_a_rank_that_hangs_in_a_checkpoint_is_named(self):
        job = self.start(harness.TINY, "--output", self.folder / "run", *LONG,
                         "--set", "checkpoint.every=1",
                         "--set", "run.long_wait=2 s", ranks=3)
        job.wait_for(lambda: self.checkpoints("run"), "first checkpoint")
        victim = job.rank_pids()[2]

        stop_while_it_writes(victim)
        # A busy machine may have made ranks wait before.
        job.wait_for(lambda: re.search(HANG, job.result().stderr),
                     "sentence about the checkpoint")

    def check_kill(self, victim, killed, uninterrupted):
        job = self.start(harness.TINY, "--output", self.folder / killed, *LONG,
                         ranks=3)
        job.wait_for(lambda: len(self.checkpoints(killed)) > 1,
                     "second checkpoint")
        pid = job.rank_pids()[victim]

        os.kill(pid, signal.SIGKILL)
        result = job.finish(limit_s=10)

        self.assertNotEqual(result.status, 0, result)
        self.assertEqual(job.leftovers(), [])
        # What ranks share their state by is named after rank 0.
        shared = pathlib.Path("/dev/shm").glob(
            f"fusionllm-*-{job.rank_pids()[0]}-*")
        self.assertEqual(list(shared), [])
        deaths = re.findall(DEATH, result.stderr)
        self.assertEqual(deaths, [(str(victim), str(pid), str(victim))],
                         result)
        self.check_resumed(killed, uninterrupted)

    def check_resumed(self, killed, uninterrupted):
        last = self.checkpoints(killed)[-1]
        steps = last + 3
        short = ("--set", "train.evaluate_every=0",
                 "--set", f"train.steps={steps}")
        resumed = self.train(killed, "--resume", *short, ranks=2)
        self.assertIn(f"resuming after step {last} ", resumed.stdout)
        self.train(uninterrupted, *short)
        self.assert_same_run(uninterrupted, killed, steps)
        checkpoints = self.folder / killed / "checkpoints"
        self.assertEqual(list(checkpoints.glob("*.partial")), [])


if __name__ == "__main__":
    harness.main()

"""A run that is asked to stop leaves a checkpoint to go on from."""

import os
import signal
import time

import harness

LONG = ("--set", "train.steps=100000", "--set", "train.evaluate_every=0")
REQUEUE = 75


class StopTest(harness.ProgramTest):
    def start_run(self, ranks, mpi_options=()):
        job = self.start(harness.TINY, "--output", self.folder / "run", *LONG,
                         ranks=ranks, mpi_options=mpi_options)
        job.wait_for(lambda: self.checkpoints("run"), "first checkpoint")
        return job

    def check_stopped(self, result):
        self.assertIn("stopped on request after step", result.stdout, result)
        self.check_resumable()

    def check_resumable(self):
        """Its last step has a checkpoint, and one more step follows it."""
        step = self.metrics("run")[-1]["step"]
        self.assertEqual(self.checkpoints("run")[-1], step)
        resumed = self.train("run", "--resume",
                             "--set", f"train.steps={step + 1}")
        self.assertIn(f"resuming after step {step} ", resumed.stdout)
        self.assertEqual([line["step"] for line in self.metrics("run")],
                         list(range(1, step + 2)))

    def test_sigint_without_mpirun_stops_after_the_step(self):
        job = self.start_run(ranks=0)

        os.kill(job.pid, signal.SIGINT)
        result = job.finish(limit_s=20)

        self.assertEqual(result.status, 0, result)
        self.check_stopped(result)

    def test_sigusr1_to_mpirun_reaches_all_ranks_and_asks_for_a_requeue(self):
        job = self.start_run(ranks=3)

        os.kill(job.pid, signal.SIGUSR1)
        result = job.finish(limit_s=20)

        self.assertEqual(result.status, REQUEUE, result)
        self.check_stopped(result)

    def test_sigusr1_to_one_rank_is_enough(self):
        job = self.start_run(ranks=3)

        os.kill(job.rank_pids()[1], signal.SIGUSR1)
        result = job.finish(limit_s=20)

        self.assertEqual(result.status, REQUEUE, result)
        self.check_stopped(result)

    def test_sigint_to_mpirun_leaves_a_checkpoint(self):
        # mpirun waits for this time, sends SIGTERM, waits for it again and
        # sends SIGKILL. Its default of 1 s is too short for a busy machine.
        job = self.start_run(
            ranks=3, mpi_options=("--mca", "odls_base_sigkill_timeout", "5"))

        os.kill(job.pid, signal.SIGINT)
        result = job.finish(limit_s=30)

        self.assertEqual(result.status, 1, result)  # mpirun's own
        self.assertEqual(job.leftovers(), [])
        self.check_stopped(result)

    def test_a_second_sigint_ends_a_long_step_at_once(self):
        job = self.start(harness.TINY, "--output", self.folder / "run", *LONG,
                         "--set", "train.batch=8192", "--set", "model.width=64")
        job.wait_for(job.rank_pids, "table of ranks")

        while job.is_running():
            os.kill(job.pid, signal.SIGINT)
            time.sleep(0.01)  # two at once would be one
        result = job.finish()

        self.assertEqual(result.status, 130, result)
        self.assertEqual(self.checkpoints("run"), [])


if __name__ == "__main__":
    harness.main()

"""Sites far apart have no disk in common: each keeps its part of a checkpoint."""

import json
import shutil

import harness

SITES = ("--set", 'topology.sites=[{name = "a", ranks = 2}, '
         '{name = "b", ranks = 2}]')
STEPS = 8


class OwnDisksTest(harness.ProgramTest):
    """Ranks 0 and 1 have one disk, ranks 2 and 3 another one, under one path:
    that of the folder that each rank is in."""

    def setUp(self):
        super().setUp()
        self.disks = [self.folder / "disk-0", self.folder / "disk-1"]
        for disk in self.disks:
            disk.mkdir()

    def run_on_disks(self, *words, ranks_a_disk=2, **expected):
        starter = self.folder / "start"
        starter.write_text(
            "#!/bin/sh\n"
            f'cd "{self.folder}/disk-'
            f'$((OMPI_COMM_WORLD_RANK / {ranks_a_disk}))" || exit 1\n'
            f'exec "{harness.program()}" "$@"\n')
        starter.chmod(0o755)
        return self.run_program(
            harness.TINY, "--output", "/proc/self/cwd/run", *SITES,
            "--set", f"train.steps={STEPS}", *words, ranks=4, program=starter,
            **expected)

    def parts(self, disk, step):
        folder = self.disks[disk] / f"run/checkpoints/step-{step}"
        return sorted(file.name for file in folder.glob("*.h5"))

    def steps_on(self, disk):
        return self.checkpoints(self.disks[disk].name + "/run")

    def assert_equals_whole(self, *words):
        """One process; both disks together have its checkpoint."""
        self.train("whole", "--set", f"train.steps={STEPS}", *words)
        shutil.copytree(self.disks[0] / "run", self.folder / "both")
        shutil.copytree(
            self.disks[1] / f"run/checkpoints/step-{STEPS}",
            self.checkpoint("both", STEPS), dirs_exist_ok=True)
        self.assert_same_run("whole", "both", STEPS)

    def test_each_resumes_from_its_own(self):
        self.run_on_disks("--set", "train.steps=4")
        self.assertEqual(self.parts(0, 4), ["group-0-a.h5"])
        self.assertEqual(self.parts(1, 4), ["group-1-b.h5"])

        resumed = self.run_on_disks("--resume")

        self.assertIn("resuming after step 4", resumed.stdout)
        self.assert_equals_whole()
        # Of batches, too, which only rank 0 counts.
        manifests = [
            json.loads((disk / f"run/checkpoints/step-{STEPS}/manifest.json")
                       .read_text()) for disk in self.disks]
        self.assertEqual(*manifests)

    def test_what_is_on_the_other_disk_is_sent(self):
        # Stages that end elsewhere, and what codecs keep on either side.
        codec = ("--set", "compression.rule=uniform",
                 "--set", 'compression.codec="subspace(4,int8)+feedback"',
                 "--set", "compression.basis_every=3")
        self.run_on_disks(*codec)
        shutil.move(self.folder / "disk-0", self.folder / "whole-0")
        shutil.move(self.folder / "disk-1", self.folder / "whole-1")
        for disk in self.disks:
            disk.mkdir()
        self.run_on_disks(*codec, "--set", "train.steps=4")
        plan = self.disks[0] / "run/plan.txt"
        moved = self.folder / "moved.txt"
        moved.write_text(self.with_stages_moved(plan.read_text()))

        self.run_on_disks(*codec, "--resume", "--plan", moved)

        self.assertEqual(self.metrics("disk-0/run"), self.metrics("whole-0/run"))
        self.assertEqual(len(self.metrics("disk-0/run")), STEPS)

    def with_stages_moved(self, plan):
        """Sites change places: each needs what the other's disk has."""
        lines = plan.splitlines()
        stages = [number for number, line in enumerate(lines)
                  if line.startswith("stage ")]
        devices = [lines[number].split(" devices ")[1].split()[0]
                   for number in stages]
        self.assertEqual(len(stages), 4)
        for number, device in zip(stages, devices[2:] + devices[:2]):
            head, tail = lines[number].split(" devices ")
            lines[number] = " devices ".join(
                [head, " ".join([device, *tail.split()[1:]])])
        return "\n".join(lines) + "\n"

    def test_overwriting_empties_all_disks(self):
        self.run_on_disks("--set", "checkpoint.keep=1")

        self.run_on_disks("--overwrite", "--set", "checkpoint.keep=1",
                          "--set", "train.steps=4")

        self.assertEqual(self.steps_on(0), [4])
        self.assertEqual(self.steps_on(1), [4])

    def test_another_run_on_the_other_disk_is_refused(self):
        self.run_on_disks("--set", "train.steps=1")
        shutil.rmtree(self.disks[0] / "run")
        before = harness.snapshot(self.folder / "disk-1/run/checkpoints/step-1")

        refused = self.run_on_disks("--set", "train.steps=1", status=2)

        self.assertEqual(len(refused.sentences()), 1, refused)
        self.assertIn("on the disk of rank 2", refused.sentences()[0])
        self.assertFalse((self.disks[0] / "run").exists())
        self.assertEqual(
            harness.snapshot(self.folder / "disk-1/run/checkpoints/step-1"),
            before)

    def test_a_part_that_no_disk_has_is_named(self):
        self.run_on_disks("--set", "train.steps=1")
        (self.disks[1] / "run/checkpoints/step-1/group-1-b.h5").unlink()

        refused = self.run_on_disks("--resume", status=2)

        self.assertEqual(len(refused.sentences()), 1, refused)
        self.assertIn("'group-1-b.h5'", refused.sentences()[0])

    def test_ranks_of_a_site_must_share_a_disk(self):
        for disk in (2, 3):
            (self.folder / f"disk-{disk}").mkdir()

        refused = self.run_on_disks(ranks_a_disk=1, status=2)

        self.assertEqual(len(refused.sentences()), 1, refused)
        self.assertIn("ranks 0 and 1 are of one group", refused.sentences()[0])
        for disk in self.disks:
            self.assertEqual(list(disk.iterdir()), [])


if __name__ == "__main__":
    harness.main()

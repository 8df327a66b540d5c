"""Numbers do not depend on sites, ranks or a plan given back (law 1)."""

import re

import harness

SITES = ('topology.sites=[{name = "a", ranks = 2}, {name = "b", ranks = 1}, '
         '{name = "c", ranks = 2}]')


class GroupsTest(harness.ProgramTest):
    def test_three_sites_give_the_numbers_of_one_process(self):
        self.train("one")
        self.train("sites", "--set", SITES, ranks=5)

        # The tied matrix is of the first and the last site.
        self.assert_same_run("one", "sites", 12)

    def test_a_checkpoint_has_a_file_for_each_site(self):
        words = ("--set", "model.tie_embeddings=false",
                 "--set", "train.steps=2")
        self.train("one", *words)
        self.train("sites", "--set", SITES, *words, ranks=5)

        self.assert_same_run("one", "sites", 2)
        files = self.checkpoint("sites", 2).glob("*.h5")
        self.assertEqual(sorted(file.name for file in files),
                         ["group-0-a.h5", "group-1-b.h5", "group-2-c.h5"])


class PlanFileTest(harness.ProgramTest):
    def setUp(self):
        super().setUp()
        self.plan = self.folder / "plan.txt"

    def make_plan(self, *words):
        return self.run_program("plan", harness.TINY, *words).stdout

    def test_a_plan_with_moved_cuts_gives_the_same_numbers(self):
        text = self.make_plan("--np", "3")
        cut = re.search(r"^stage 0 ops 0 (\d+) ", text, re.MULTILINE)[1]
        moved = str(int(cut) // 2)
        text = text.replace(f"ops 0 {cut} ", f"ops 0 {moved} ")
        text = text.replace(f"stage 1 ops {cut} ", f"stage 1 ops {moved} ")
        self.plan.write_text(text)

        self.train("one")
        planned = self.train("plan", "--plan", self.plan, ranks=3)

        self.assert_same_run("one", "plan", 12)
        followed = (self.folder / "plan/plan.txt").read_text()
        self.assertIn(f"stage 0 ops 0 {moved} ", followed)
        self.assertIn(f"from {self.plan}", planned.stdout)

    def test_ranks_without_a_stage_change_no_number(self):
        self.plan.write_text(re.sub(
            r'^group .*', 'group "local" devices 0 1 2 3',
            self.make_plan("--np", "2"), flags=re.MULTILINE))

        self.train("one")
        idle = self.train("idle", "--plan", self.plan, ranks=4)

        self.assert_same_run("one", "idle", 12)
        self.assertRegex(idle.stdout, r"by 2 ranks without a stage")

    def test_the_plan_of_a_run_can_be_given_back(self):
        self.train("run", "--set", "train.steps=2", ranks=3)
        self.train("again", "--set", "train.steps=2",
                   "--plan", self.folder / "run/plan.txt", ranks=3)

        self.assert_same_run("run", "again", 2)

    def test_a_broken_plan_is_refused_by_line(self):
        good = self.make_plan("--np", "3").splitlines()
        stage = next(number for number, line in enumerate(good)
                     if line.startswith("stage 1 "))
        breaks = {
            "a word": good[stage].replace("ops", "opps", 1),
            "a number": good[stage].replace("devices 1", "devices one"),
            "an unknown line": "stages 3",
        }
        for name, line in breaks.items():
            with self.subTest(name):
                broken = [*good]
                broken[stage] = line
                self.plan.write_text("\n".join(broken))

                refused = self.train("run", "--plan", self.plan, ranks=3,
                                     status=2)

                self.assertEqual(len(refused.sentences()), 1, refused)
                self.assertRegex(refused.sentences()[0],
                                 rf"{self.plan}:{stage + 1}: ")
                self.assertFalse((self.folder / "run").exists())


if __name__ == "__main__":
    harness.main()

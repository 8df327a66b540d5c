"""More ranks than cores: everything still comes together."""

import re

import harness


class ManyRanksTest(harness.ProgramTest):
    def test_48_stages_give_the_numbers_of_one_process(self):
        self.train("one", source=harness.DEEP)
        many = self.train("many", source=harness.DEEP, ranks=48, limit_s=150)

        self.assert_same_run("one", "many", 3)
        self.assertIn("48 stages", many.stdout)
        print(f"48 ranks, 3 steps: {many.seconds:.1f} s, "
              + re.search(r"CPU time.*", many.stdout)[0])

    def test_ranks_without_a_stage_report_their_cpu_time(self):
        plan = self.folder / "plan.txt"
        text = self.run_program("plan", harness.DEEP, "--np", "4").stdout
        devices = " ".join(str(device) for device in range(12))
        plan.write_text(re.sub(r'^group .*', f'group "local" devices {devices}',
                               text, flags=re.MULTILINE))

        self.train("one", source=harness.DEEP)
        idle = self.train("idle", "--plan", plan, source=harness.DEEP, ranks=12)

        self.assert_same_run("one", "idle", 3)
        report = re.search(
            r"CPU time: (\S+) s over 12 ranks, of it (\S+) s by 8 ranks "
            r"without a stage", idle.stdout)
        self.assertTrue(report, idle)
        self.assertLessEqual(float(report[2]), float(report[1]))
        print(report[0])


if __name__ == "__main__":
    harness.main()

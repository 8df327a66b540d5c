"""A ResNet learns images, with the same bits on any ranks, stopped or not."""

import harness

IMAGES = harness.INPUTS / "images.toml"
CHANCE = 1 / 4


class ImagesTest(harness.ProgramTest):
    def test_a_narrow_resnet_learns_alike_on_one_rank_and_two(self):
        whole = self.train("whole", source=IMAGES)
        self.train("parts", "--set", "train.steps=15", ranks=2, source=IMAGES)
        self.train("parts", "--resume", ranks=2, source=IMAGES)

        metrics = self.metrics("whole")
        self.assert_same_run("whole", "parts", 40)
        self.assertEqual([line["step"] for line in metrics
                          if "validation_accuracy" in line], [20, 40])
        self.assertLess(metrics[-1]["loss"], 0.7 * metrics[0]["loss"])
        self.assertGreater(metrics[-1]["validation_accuracy"], 2 * CHANCE)
        self.assertIn("% right", whole.stdout)
        self.assertIn("samples/s", whole.stdout)
        names = " ".join(self.tensors("whole", 40))
        self.assertIn("buffers/layer4.1.bn2.running_var", names)

    def test_another_resnet_than_the_checkpoints_is_refused(self):
        self.train("run", "--set", "train.steps=1", source=IMAGES)

        for setting, reason in (("model.channels=8", "channels = 4"),
                                ('model.size="resnet34"', "depth = 18"),
                                ("model.kind=gpt2", "resnet")):
            with self.subTest(setting=setting):
                words = ["--set", setting]
                source = IMAGES
                if "gpt2" in setting:
                    words, source = [], harness.TINY
                refused = self.train("run", "--resume", *words, source=source,
                                     status=2)
                self.assertEqual(len(refused.sentences()), 1, refused)
                self.assertIn(reason, refused.sentences()[0])


if __name__ == "__main__":
    harness.main()

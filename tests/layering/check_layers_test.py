"""Plants one violation of each rule in a small tree: each must be found."""

import tempfile
import unittest
from pathlib import Path

import check_layers

CMAKE = """
# fusionllm_add_layer(<layer> [USES <layer> ...] [LIBS <lib> ...])
function(fusionllm_add_layer layer)
endfunction()
fusionllm_add_layer(util LIBS fmt::fmt)
fusionllm_add_layer(graph USES util)
fusionllm_add_layer(plan USES graph)
fusionllm_add_layer(comm USES util LIBS MPI::MPI_CXX)
fusionllm_add_layer(exec USES graph
  LIBS torch)
fusionllm_add_layer(io LIBS HDF5::HDF5)
fusionllm_add_layer(runtime USES exec comm plan io)
target_link_libraries(fusionllm_app PUBLIC
  fusionllm_runtime tomlplusplus::tomlplusplus)
"""

TREE = {
    "src/CMakeLists.txt": CMAKE,
    "include/fusionllm/util/id.hpp": "#include <string>\n",
    "include/fusionllm/plan/plan.hpp":
        '#include "fusionllm/util/id.hpp"  // through graph\n',
    "include/fusionllm/comm/mpi.hpp":
        "#include <mpi.h>\nMPI_Comm world = MPI_COMM_WORLD;\n",
    "src/exec/run.cpp": "#include <ATen/core/Tensor.h>\n",
    "src/io/file.cpp": "#include <hdf5.h>\n#include <mpi.h>\n",
    "src/plan/plan.cpp": '#include "fusionllm/plan/plan.hpp"\n',
    "src/plan/json.cpp": "#include <nlohmann/json.hpp>\n",
    "src/runtime/trainer.cpp":
        '#include "fusionllm/comm/mpi.hpp"\n// no MPI_COMM_WORLD here\n',
    "src/app/input_toml.cpp": "#include <toml++/toml.h>\n",
    "src/app/main.cpp": '#include "app/run_input.hpp"\n'
                        '#include "fusionllm/util/id.hpp"\n',
    "tests/comm/mpi_test.cpp": "auto world = MPI_COMM_WORLD;\n",
    "tests/comm/tests.cmake": "fusionllm_add_test(comm/mpi_test.cpp)\n",
}


def problems_of(changes):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for path, text in {**TREE, **changes}.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        return check_layers.check(root)


class CheckLayersTest(unittest.TestCase):
    def expect_one(self, path, text, *words):
        problems = problems_of({path: text})

        self.assertEqual(len(problems), 1, problems)
        for word in (path, *words):
            self.assertIn(word, problems[0])

    def test_a_tree_that_keeps_the_rules_has_no_problems(self):
        self.assertEqual(problems_of({}), [])

    def test_an_arrow_against_the_link_line_is_found(self):
        self.expect_one("include/fusionllm/graph/op.hpp",
                        '#include <span>\n#include "fusionllm/plan/plan.hpp"',
                        "op.hpp:2", "graph", "may use only graph, util")

    def test_an_arrow_between_neighbours_is_found(self):
        self.expect_one("src/plan/x.cpp",
                        '#include "fusionllm/comm/mpi.hpp"', "comm")

    def test_an_include_in_a_comment_does_not_count(self):
        self.assertEqual(problems_of({
            "src/graph/x.cpp":
                '/*\n#include "fusionllm/plan/plan.hpp"\n*/\n'
                '// #include <mpi.h>\n'}), [])

    def test_a_private_header_of_another_layer_is_found(self):
        self.expect_one("src/runtime/x.cpp", '#include "exec/run.hpp"',
                        "private header of exec")

    def test_a_private_header_in_a_public_one_is_found(self):
        self.expect_one("include/fusionllm/exec/x.hpp",
                        '#include "exec/run.hpp"', "public header")

    def test_a_path_upwards_is_found(self):
        self.expect_one("src/exec/x.cpp", '#include "../graph/x.hpp"', "..")

    def test_libtorch_outside_its_layers_is_found(self):
        for header in ("ATen/ATen.h", "torch/torch.h", "c10/util/Half.h"):
            self.expect_one("src/plan/x.cpp", f"#include <{header}>",
                            "LibTorch", "exec, importers, runtime")

    def test_kokkos_outside_codec_is_found(self):
        self.expect_one("src/runtime/x.cpp", "#include <Kokkos_Core.hpp>",
                        "Kokkos", "codec")

    def test_mpi_outside_its_layers_is_found(self):
        self.expect_one("src/runtime/x.cpp", "#include <mpi.h>", "comm, io")

    def test_hdf5_outside_io_is_found(self):
        self.expect_one("src/runtime/x.cpp", "#include <H5Fpublic.h>", "HDF5")

    def test_a_second_source_with_toml_is_found(self):
        self.expect_one("src/app/other_toml.cpp",
                        "#include <toml++/toml.h>", "2 files")

    def test_toml_outside_app_is_found(self):
        self.expect_one("src/runtime/x.cpp", "#include <toml++/toml.hpp>",
                        "toml++", "only app")

    def test_a_second_source_with_json_is_found(self):
        self.expect_one("src/plan/x.cpp", "#include <nlohmann/json.hpp>",
                        "nlohmann-json", "2 files")

    def test_json_in_a_header_is_found(self):
        self.expect_one("include/fusionllm/io/x.hpp",
                        "#include <nlohmann/json.hpp>", "header")

    def test_the_world_outside_comm_is_found(self):
        for path in ("src/app/x.cpp", "src/runtime/x.cpp",
                     "tests/runtime/x.hpp"):
            self.expect_one(path, "auto c = MPI_COMM_WORLD;",
                            "MPI_COMM_WORLD")

    def test_a_long_header_is_found(self):
        self.expect_one("include/fusionllm/util/long.hpp", "\n" * 251, "250")
        self.assertEqual(problems_of(
            {"include/fusionllm/util/long.hpp": "\n" * 250}), [])

    def test_a_long_source_is_found(self):
        self.expect_one("src/util/long.cpp", "\n" * 451, "450")
        self.assertEqual(problems_of(
            {"src/util/long.cpp": "\n" * 450}), [])

    def test_a_test_that_is_not_run_is_found(self):
        self.expect_one("tests/comm/wait_test.cpp", "", "run by nobody")
        self.expect_one("tests/integration/kill_test.py", "",
                        "tests/integration/tests.cmake")

    def test_a_folder_that_is_no_layer_is_found(self):
        self.expect_one("src/helpers/x.cpp", "", "helpers is no layer")

    def test_a_circle_of_layers_is_found(self):
        problems = problems_of({"src/CMakeLists.txt": CMAKE.replace(
            "layer(graph USES util)", "layer(graph USES util runtime)")})

        self.assertIn("layer graph uses itself", " ".join(problems))

    def test_an_unknown_layer_is_found(self):
        self.expect_one("src/CMakeLists.txt",
                        CMAKE.replace("graph USES util", "graph USES utli"),
                        "utli")

    def test_a_build_file_without_layers_is_found(self):
        self.expect_one("src/CMakeLists.txt", "project(x)\n", "no fusionllm")


if __name__ == "__main__":
    unittest.main()

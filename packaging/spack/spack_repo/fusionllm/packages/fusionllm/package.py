from pathlib import Path

from spack.package import *

try:
    from spack_repo.builtin.build_systems.cmake import CMakePackage, generator

    languages = ["c", "cxx"]
except ImportError:
    # Before Spack 1: the imports are in spack.package, and a compiler is an
    # attribute, not a dependency.
    languages = []


class Fusionllm(CMakePackage):
    """Train one neural network as a pipeline across MPI ranks whose devices
    are far apart."""

    # The recipe is part of the clone that it builds.
    git = Path(__file__).resolve().parents[6].as_uri()

    license("Apache-2.0")

    version("main", branch="main")

    variant("benchmarks", default=False, description="Build the benchmarks")

    for language in languages:
        depends_on(language, type="build")
    depends_on("cmake@3.25:", type="build")
    depends_on("python@3.9:", type=("build", "test"))

    depends_on("mpi@3:")
    depends_on("hdf5@1.10:+mpi")
    depends_on("py-torch@1.13:")  # LibTorch; Spack has it only inside this
    depends_on("kokkos@3.4:+serial")
    depends_on("fmt@9:")
    depends_on("tomlplusplus@3.3:")
    depends_on("cli11@2:")
    depends_on("nlohmann-json@3.11:")
    depends_on("libjpeg-turbo@2.1:")
    depends_on("libpng@1.6:")
    depends_on("sentencepiece@0.1.97:")
    depends_on("zlib-api")
    depends_on("googletest@1.12:", type=("build", "test"))

    generator("ninja")

    def cmake_args(self):
        return [
            self.define("FUSIONLLM_TESTS", self.run_tests),
            self.define_from_variant("FUSIONLLM_BENCHMARKS", "benchmarks"),
        ]

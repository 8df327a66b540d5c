from spack.package import *

try:
    from spack_repo.builtin.build_systems.cmake import CMakePackage

    languages = ["cxx"]
except ImportError:  # as in ../fusionllm
    languages = []


class Tomlplusplus(CMakePackage):
    """TOML parser and serializer for C++17. Spack before version 1 has no
    recipe of it."""

    homepage = "https://marzer.github.io/tomlplusplus/"
    url = "https://github.com/marzer/tomlplusplus/archive/refs/tags/v3.4.0.tar.gz"

    license("MIT")

    version(
        "3.4.0",
        sha256="8517f65938a4faae9ccf8ebb36631a38c1cadfb5efa85d9a72e15b9e97d25155",
    )

    for language in languages:
        depends_on(language, type="build")
    depends_on("cmake@3.14:", type="build")

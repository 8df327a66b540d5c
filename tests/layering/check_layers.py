"""Check that includes keep to the rules of docs/architecture.md, and that tests
are run.

    check_layers.py ROOT

Which layer may include which is read from the fusionllm_add_layer lines of
src/CMakeLists.txt: what a layer USES, and what those use. Prints one sentence
a violation; exit status 1 if there is any.
"""

import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

TOOLS = "tools"  # programs of their own, which use no layer
HEADER_LINES = 250
SOURCE_LINES = 450


class Dependency(NamedTuple):
    name: str
    pattern: str
    layers: frozenset  # which may include it; empty: any
    headers: bool  # also in headers?
    files: int  # at most so many a layer; 0: any number


DEPENDENCIES = [
    Dependency("LibTorch", r"(ATen|c10|torch)/",
               frozenset({"exec", "runtime", "importers"}), True, 0),
    Dependency("Kokkos", r"Kokkos_", frozenset({"codec"}), True, 0),
    Dependency("MPI", r"mpi\.h", frozenset({"comm", "io"}), True, 0),
    Dependency("HDF5", r"(hdf5|H5\w+)\.h", frozenset({"io"}), True, 0),
    Dependency("libpng", r"png\.h", frozenset({"data"}), False, 1),
    Dependency("TurboJPEG", r"turbojpeg\.h", frozenset({"data"}), False, 1),
    Dependency("zlib", r"zlib\.h", frozenset({"importers"}), False, 1),
    Dependency("SentencePiece", r"sentencepiece_(processor|trainer)\.h",
               frozenset({"tools"}), False, 1),
    Dependency("CLI11", r"CLI/", frozenset({"app"}), True, 0),
    Dependency("toml++", r"toml(\+\+|plusplus)?/|toml\.hpp",
               frozenset({"app"}), False, 1),
    Dependency("nlohmann-json", r"nlohmann/", frozenset(), False, 1),
]
WORLD_FOLDERS = ("include/fusionllm/comm/", "src/comm/", "tests/comm/",
                 "tests/harness/")


class Source(NamedTuple):
    path: str  # from the root
    layer: str
    text: str

    @property
    def is_header(self):
        return self.path.endswith(".hpp")


class Include(NamedTuple):
    line: int
    target: str


def without_comments(text):
    """The text with comments blanked; lines keep their numbers."""
    token = re.compile(
        r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)

    def blank(match):
        found = match.group()
        if found.startswith('"'):
            return found
        return "\n" * found.count("\n")

    return token.sub(blank, text)


def includes_of(source):
    for number, line in enumerate(source.text.splitlines(), start=1):
        match = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
        if match:
            yield Include(number, match.group(1))


def read_uses(cmake_text):
    """Layer -> layers it names, from the text of src/CMakeLists.txt."""
    text = re.sub(r"#[^\n]*", "", cmake_text)
    uses = {}
    for call in re.findall(r"fusionllm_add_layer\(([^$)]*)\)", text):
        words = call.split()
        uses[words[0]] = _after("USES", words)
    # The program's own layer is spelled out, for its two folders.
    for call in re.findall(r"target_link_libraries\(fusionllm_app\b([^)]*)\)",
                           text):
        uses["app"] = [word.removeprefix("fusionllm_")
                       for word in call.split()
                       if word.startswith("fusionllm_")]
    return uses


def _after(keyword, words):
    """The words after a keyword, up to the next one."""
    if keyword not in words:
        return []
    found = []
    for word in words[words.index(keyword) + 1:]:
        if word.isupper():
            break
        found.append(word)
    return found


def reachable(uses, layer):
    found, todo = set(), list(uses[layer])
    while todo:
        used = todo.pop()
        if used not in found:
            found.add(used)
            todo += uses.get(used, [])
    return found


def check_uses(uses):
    for layer, used in sorted(uses.items()):
        for unknown in sorted(set(used) - set(uses)):
            yield (f"src/CMakeLists.txt: layer {layer} uses {unknown}, which "
                   "is no layer")
        if layer in reachable(uses, layer):
            yield (f"src/CMakeLists.txt: layer {layer} uses itself, directly "
                   "or through others; layers must not form a circle")


def read_sources(root, uses):
    """Headers and sources of all layers, and sentences about the rest."""
    sources, problems = [], []
    for folder in (root / "include/fusionllm", root / "src"):
        for path in sorted(folder.rglob("*.[ch]pp")):
            name = path.relative_to(root).as_posix()
            layer = path.relative_to(folder).parts[0]
            if layer == TOOLS:
                continue
            if layer in uses:
                sources.append(Source(
                    name, layer, without_comments(path.read_text())))
            else:
                problems.append(f"{name}: {layer} is no layer; add it to "
                                "src/CMakeLists.txt or move the file")
    return sources, problems


def check_arrows(source, uses):
    allowed = reachable(uses, source.layer) | {source.layer}
    for include in includes_of(source):
        where = f"{source.path}:{include.line}"
        parts = include.target.split("/")
        if ".." in parts:
            yield (f"{where}: includes {include.target}; write the path from "
                   "src/ or include/")
        elif parts[0] == "fusionllm" and len(parts) > 2:
            if parts[1] not in allowed:
                yield (f"{where}: layer {source.layer} includes "
                       f"{include.target}, but may use only "
                       f"{', '.join(sorted(allowed))} (src/CMakeLists.txt)")
        elif len(parts) > 1 and parts[0] in uses:
            if source.path.startswith("include/"):
                yield (f"{where}: a public header includes "
                       f"{include.target}, a private one")
            elif parts[0] != source.layer:
                yield (f"{where}: layer {source.layer} includes "
                       f"{include.target}, a private header of {parts[0]}")


def check_dependencies(sources):
    users = defaultdict(list)
    for source in sources:
        for include in includes_of(source):
            for dependency in DEPENDENCIES:
                if re.match(dependency.pattern, include.target):
                    where = f"{source.path}:{include.line}"
                    yield from _check_dependency(source, dependency, where)
                    files = users[dependency, source.layer]
                    if source.path not in files:
                        files.append(source.path)
    for (dependency, layer), files in users.items():
        if 0 < dependency.files < len(files):
            yield (f"{files[-1]}: {dependency.name} is included in "
                   f"{len(files)} files of layer {layer} "
                   f"({', '.join(files)}); keep it in {dependency.files}, "
                   "it is slow to compile")


def _check_dependency(source, dependency, where):
    if dependency.layers and source.layer not in dependency.layers:
        yield (f"{where}: layer {source.layer} includes {dependency.name}, "
               f"which only {', '.join(sorted(dependency.layers))} may")
    if source.is_header and not dependency.headers:
        yield (f"{where}: a header includes {dependency.name}; include it in "
               "one .cpp")


def check_world(root):
    for folder in ("include", "src", "tests"):
        for path in sorted((root / folder).rglob("*.[ch]pp")):
            name = path.relative_to(root).as_posix()
            if name.startswith(WORLD_FOLDERS):
                continue
            text = without_comments(path.read_text())
            for number, line in enumerate(text.splitlines(), start=1):
                if "MPI_COMM_WORLD" in line:
                    yield (f"{name}:{number}: names MPI_COMM_WORLD; take a "
                           "communicator as an argument (only comm and the "
                           "test harness know the world)")


def check_length(root, source):
    limit = HEADER_LINES if source.is_header else SOURCE_LINES
    lines = len((root / source.path).read_text().splitlines())
    if lines > limit:
        yield (f"{source.path}: {lines} lines, more than {limit}; does it "
               "hold one thing?")


def check_tests(root):
    """A test that no tests.cmake names is never run."""
    for path in sorted((root / "tests").glob("*/*_test.*")):
        name = path.relative_to(root).as_posix()
        stem = path.stem.removesuffix("_test")
        makefile = path.parent / "tests.cmake"
        text = makefile.read_text() if makefile.exists() else ""
        if not re.search(rf"\b{re.escape(stem)}(_test)?\b", text):
            yield (f"{name}: is run by nobody; name it in "
                   f"{makefile.relative_to(root).as_posix()}")


def check(root):
    """Sentences about all that breaks a rule in the tree at `root`."""
    uses = read_uses((root / "src/CMakeLists.txt").read_text())
    if not uses:
        return ["src/CMakeLists.txt: no fusionllm_add_layer line was found"]
    problems = list(check_uses(uses))
    if problems:
        return problems
    sources, problems = read_sources(root, uses)
    if not sources:
        problems.append("no header or source was found under include/ or src/")
    for source in sources:
        problems += check_arrows(source, uses)
        problems += check_length(root, source)
    problems += check_dependencies(sources)
    problems += check_world(root)
    problems += check_tests(root)
    return problems


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    problems = check(Path(arguments[0]))
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#include <cstdio>
#include <exception>

#include "fusionllm/io/checkpoint.hpp"
#include "fusionllm/util/hash.hpp"

/*
 * Prints name, type and hash of every tensor of a checkpoint, one a line, so
 * that checkpoints can be compared whatever files their tensors are in.
 */
int main(int argc, char** argv) {
    if (argc != 2) {
        std::fprintf(stderr,
                     "usage: checkpoint_digest OUTPUT/checkpoints/step-N\n");
        return 2;
    }
    try {
        const fusionllm::CheckpointReader reader(argv[1]);
        for (const auto& [name, file] : reader.manifest().tensors) {
            const auto tensor = reader.read(name);
            std::printf("%s %s %016lx\n",
                        name.c_str(),
                        to_text(tensor.type).c_str(),
                        static_cast<unsigned long>(
                            fusionllm::hash_bytes(tensor.bytes)));
        }
    } catch (const std::exception& error) {
        std::fprintf(stderr, "checkpoint_digest: %s\n", error.what());
        return 1;
    }
    return 0;
}

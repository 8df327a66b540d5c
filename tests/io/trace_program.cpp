// Writes a small trace to the file of its argument, for trace_test.py.

#include <vector>

#include "fusionllm/io/trace_writer.hpp"

int main(int argc, char** argv) {
    using namespace fusionllm;
    if (argc != 2) {
        return 2;
    }
    TraceWriter writer(
        argv[1], {{"run", "é"}, {"stage", "1"}, {"none", ""}}, 0);
    for (std::int64_t step = 1; step <= 3; ++step) {
        std::vector<float> elements(6, 0.0f);
        elements[0] = static_cast<float>(step);
        elements[5] = -2.5f;
        writer.append({"h.1.mlp.residual",
                       TraceKind::activation,
                       step,
                       0,
                       {2, 3},
                       elements});
        writer.append({"h.1.mlp.residual",
                       TraceKind::gradient,
                       step,
                       0,
                       {2, 3},
                       elements});
        writer.flush();
    }
}

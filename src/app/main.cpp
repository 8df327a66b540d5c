#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include "app/command_line.hpp"

int main(int argc, char** argv) {
    return fusionllm::run_command_line(argc, argv);
}

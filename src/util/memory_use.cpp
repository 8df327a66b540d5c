#include "fusionllm/util/memory_use.hpp"

#include <fstream>
#include <string>

namespace fusionllm {

// Not getrusage: its maximum begins with that of the program that started us.
std::uint64_t peak_resident_bytes() {
    std::ifstream file("/proc/self/status");
    std::string key;
    while (file >> key) {
        if (key == "VmHWM:") {
            std::uint64_t kibibytes = 0;
            file >> kibibytes;
            return kibibytes * 1024;
        }
        std::getline(file, key);
    }
    return 0;
}

}  // namespace fusionllm

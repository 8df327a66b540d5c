#include "fusionllm/exec/memory.hpp"

#include <limits>

#ifdef __GLIBC__
#include <malloc.h>
#endif

namespace fusionllm {

void keep_freed_memory() {
#ifdef __GLIBC__
    // A thread other than the first has heaps of 64 MiB, so it can keep no
    // larger block; and it gives an empty heap back unless the pad is as large.
    constexpr int heap_bytes = 64 << 20;
    mallopt(M_MMAP_THRESHOLD, heap_bytes / 2);
    mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
    mallopt(M_TOP_PAD, heap_bytes);
#endif
}

}  // namespace fusionllm

#include "fusionllm/sim/simulate.hpp"

#include "fusionllm/topology/network.hpp"

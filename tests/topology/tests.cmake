fusionllm_add_test(topology/topology_test.cpp)

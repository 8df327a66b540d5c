fusionllm_add_test(topology/topology_test.cpp)
fusionllm_add_test(topology/network_test.cpp)
fusionllm_add_test(topology/device_kind_test.cpp)
fusionllm_add_test(topology/topology_spec_test.cpp)

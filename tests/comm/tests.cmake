fusionllm_add_test(comm/intercommunicator_test.cpp RANKS 4)
fusionllm_add_test(comm/loopback_test.cpp LIBS GTest::gmock)
fusionllm_add_test(comm/mpi_test.cpp RANKS 1 3)
fusionllm_add_test(comm/mpi_transport_test.cpp RANKS 1 2 3 4 5
  LIBS GTest::gmock TIMEOUT 180)
fusionllm_add_test(comm/wait_test.cpp)

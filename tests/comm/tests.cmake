fusionllm_add_test(comm/intercommunicator_test.cpp RANKS 4)

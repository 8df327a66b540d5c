# For a Kokkos with CUDA: nvcc compiles the layers that use Kokkos.
set(CMAKE_CUDA_ARCHITECTURES ${Kokkos_CUDA_ARCHITECTURES})
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)
  # nvcc has had it since 12.0, CMake 3.25 does not know that.
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
endif()

function(fusionllm_compile_as_cuda layer)
  get_target_property(sources fusionllm_${layer} SOURCES)
  # What is for processors alone.
  list(FILTER sources EXCLUDE REGEX "/host_[a-z_]*\\.cpp$")
  set_source_files_properties(${sources} PROPERTIES LANGUAGE CUDA)
  set_target_properties(fusionllm_${layer} PROPERTIES
    CUDA_ARCHITECTURES "${Kokkos_CUDA_ARCHITECTURES}"
    CUDA_RUNTIME_LIBRARY Shared
    CUDA_STANDARD 20)
  # For nvcc {fmt} 9 turns off half of its constexpr; the other half needs it.
  target_compile_definitions(fusionllm_${layer} PRIVATE FMT_USE_CONSTEXPR=1)
endfunction()

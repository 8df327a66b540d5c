# Every third-party package of the project, found once, here.
find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(MPI REQUIRED COMPONENTS CXX)
find_package(fmt REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)

set(HDF5_PREFER_PARALLEL ON)
enable_language(C)  # FindHDF5 compiles C programs
find_package(HDF5 REQUIRED COMPONENTS C)
if(NOT HDF5_IS_PARALLEL)
  message(FATAL_ERROR
    "HDF5 was found (${HDF5_C_INCLUDE_DIRS}) but without MPI: checkpoints are "
    "written in parallel. Install libhdf5-openmpi-dev, or set HDF5_ROOT.")
endif()

find_package(Kokkos REQUIRED)
# Debian's Kokkos (from Trilinos) names an include folder that does not exist.
get_target_property(kokkos_include Kokkos::kokkos INTERFACE_INCLUDE_DIRECTORIES)
if(NOT EXISTS "${kokkos_include}/Kokkos_Core.hpp" AND
   EXISTS /usr/include/trilinos/Kokkos_Core.hpp)
  set_target_properties(Kokkos::kokkos PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES /usr/include/trilinos)
endif()

find_package(Torch REQUIRED)
if(FUSIONLLM_TESTS)
  find_package(GTest REQUIRED)
endif()

# Every third-party package of the project, found once, here.
include(GNUInstallDirs)

find_package(Threads REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(MPI REQUIRED COMPONENTS CXX)
find_package(fmt REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(PNG REQUIRED)
find_package(libjpeg-turbo REQUIRED)
find_package(ZLIB REQUIRED)
find_path(SENTENCEPIECE_INCLUDE_DIR sentencepiece_processor.h)
find_library(SENTENCEPIECE_LIBRARY sentencepiece)
if(NOT SENTENCEPIECE_INCLUDE_DIR OR NOT SENTENCEPIECE_LIBRARY)
  message(STATUS "SentencePiece was not found: its tokenizer will be refused")
endif()

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

if(Kokkos_ENABLE_CUDA)
  if(NOT Kokkos_ENABLE_COMPILE_AS_CMAKE_LANGUAGE)
    message(FATAL_ERROR
      "This Kokkos (${Kokkos_DIR}) has CUDA, but asks for nvcc_wrapper as the "
      "compiler of the whole program. Build it with "
      "-DKokkos_ENABLE_COMPILE_AS_CMAKE_LANGUAGE=ON (docs/how-to/cuda.md), or "
      "use a Kokkos without CUDA: masks are then made on the host.")
  endif()
  include(packaging/cmake/Cuda.cmake)
endif()

# A LibTorch with CUDA enables nvcc and changes flags for CUDA sources of its
# users. We have none that use LibTorch: name any architecture, for detecting
# one asks for CUDA C++20, which CMake 3.25 does not know; and keep our flags.
if(NOT DEFINED TORCH_CUDA_ARCH_LIST AND NOT DEFINED ENV{TORCH_CUDA_ARCH_LIST})
  set(TORCH_CUDA_ARCH_LIST 9.0)
endif()
set(cuda_flags "${CMAKE_CUDA_FLAGS}")
find_package(Torch REQUIRED)
set(CMAKE_CUDA_FLAGS "${cuda_flags}")
unset(CMAKE_CUDA_STANDARD)
if(TORCH_CXX_FLAGS MATCHES "_GLIBCXX_USE_CXX11_ABI=0")
  message(FATAL_ERROR
    "This LibTorch (${TORCH_INSTALL_PREFIX}) was built for the old C++ ABI, so "
    "no other C++ library of this system can be linked with it. PyPI's "
    "packages have the new one from torch 2.7 on.")
endif()
if(FUSIONLLM_CUDA AND NOT TARGET torch_cuda)
  message(FATAL_ERROR
    "FUSIONLLM_CUDA is ON, but this LibTorch (${TORCH_INSTALL_PREFIX}) was "
    "built without CUDA. Name one that has it in CMAKE_PREFIX_PATH "
    "(docs/how-to/cuda.md), or set FUSIONLLM_CUDA to OFF.")
endif()

# PyPI's LibTorch needs the CUDA libraries that were installed with it; those of
# the toolkit may be older.
file(GLOB torch_cuda_dirs "${TORCH_INSTALL_PREFIX}/../nvidia/*/lib")
list(PREPEND CMAKE_BUILD_RPATH ${torch_cuda_dirs})
list(PREPEND CMAKE_INSTALL_RPATH ${torch_cuda_dirs})
# Where the shared object with SentencePiece is.
list(APPEND CMAKE_BUILD_RPATH "$ORIGIN/../lib")
list(APPEND CMAKE_INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")

# PyPI's LibTorch holds another {fmt} in its include folder, without a library:
# let ours be found first.
if(EXISTS "${TORCH_INSTALL_PREFIX}/include/fmt")
  get_target_property(fmt_include fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/include_first)
  file(CREATE_LINK ${fmt_include}/fmt ${PROJECT_BINARY_DIR}/include_first/fmt
    SYMBOLIC)
  include_directories(BEFORE SYSTEM ${PROJECT_BINARY_DIR}/include_first)
endif()

if(FUSIONLLM_TESTS)
  find_package(GTest REQUIRED)
endif()

# gopt-plan: runs plan files, and needs a C compiler, threads and, for the opencl backend, an OpenCL loader. No protobuf,
# jansson, graphviz, oneDNN or CLBlast; the same backends and kernels as gopt, so that plans of one fit the other.
find_package(Threads REQUIRED)
find_package(OpenCL QUIET)
include(embed)
include(build_key)

file(GLOB_RECURSE GOPT_SOURCES CONFIGURE_DEPENDS src/base/*.c src/ir/*.c src/ops/*.c src/backend/*.c)
list(FILTER GOPT_SOURCES EXCLUDE REGEX "src/backend/opencl/|timing_cache\\.c$")
include(kernels)
if(OpenCL_FOUND AND GOPT_WITH_OPENCL)
  file(GLOB opencl_sources CONFIGURE_DEPENDS src/backend/opencl/*.c)
  file(GLOB opencl_kernels CONFIGURE_DEPENDS kernels/opencl/*.cl)
  gopt_embed(opencl_embedded gk_opencl ${opencl_kernels})
endif()

add_executable(gopt-plan tools/minimal/gopt_plan.c tools/minimal/npy.c ${GOPT_SOURCES} ${GOPT_KERNELS} ${opencl_sources}
  ${opencl_embedded} ${GOPT_BUILD_KEY})
target_include_directories(gopt-plan PRIVATE include src kernels ${CMAKE_BINARY_DIR}/generated)
target_link_libraries(gopt-plan PRIVATE gopt_flags Threads::Threads m ${CMAKE_DL_LIBS})
if(opencl_sources)
  target_compile_definitions(gopt-plan PRIVATE GI_HAVE_OPENCL=1)
  target_link_libraries(gopt-plan PRIVATE OpenCL::OpenCL)
endif()
include(GNUInstallDirs)
install(TARGETS gopt-plan)
message(STATUS "gopt-plan ${PROJECT_VERSION} alone, OpenCL: ${OpenCL_FOUND}")

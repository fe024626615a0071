# The program on damaged files, and the library short of memory. The program is linked in, its main() under
# another name, so that a try costs a fork and no more. With GOPT_TEST_FULL set there are ten times as many.
set(fuzz_sources ${GOPT_TOOL_SOURCES})
set_source_files_properties(${CMAKE_SOURCE_DIR}/tools/gopt.c PROPERTIES
  COMPILE_DEFINITIONS main=gopt_main COMPILE_OPTIONS -Wno-missing-prototypes)
add_executable(fuzz fuzz/fuzz.c fuzz/mutate.c ${fuzz_sources})
target_include_directories(fuzz PRIVATE ${CMAKE_SOURCE_DIR}/tools)
target_link_libraries(fuzz PRIVATE gopt_flags gopt_static gopt_tool_deps)
add_executable(memory fuzz/memory.c)
target_link_libraries(memory PRIVATE gopt_flags gopt_static gopt_deps)

set(fuzz_digits ${CMAKE_SOURCE_DIR}/examples/digits)
file(GLOB fuzz_gir CONFIGURE_DEPENDS golden/*/*.gir)
file(GLOB fuzz_onnx CONFIGURE_DEPENDS fuzz/models/*.onnx ${CMAKE_SOURCE_DIR}/../shared/models/aten/c*/model.onnx)
file(GLOB fuzz_png CONFIGURE_DEPENDS ${fuzz_digits}/*.png fuzz/seeds/*)
add_test(NAME fuzz.onnx COMMAND fuzz model 400 ${fuzz_digits}.onnx ${fuzz_onnx})
add_test(NAME fuzz.gir COMMAND fuzz model 600 ${fuzz_gir})
file(ARCHIVE_EXTRACT INPUT ${CMAKE_CURRENT_SOURCE_DIR}/aten/cases/calls.tar.xz DESTINATION ${CMAKE_CURRENT_BINARY_DIR}/fuzz_aten
  PATTERNS "*/model.onnx")
file(GLOB fuzz_aten ${CMAKE_CURRENT_BINARY_DIR}/fuzz_aten/*/model.onnx)
add_test(NAME fuzz.aten COMMAND fuzz model 400 ${fuzz_aten})
add_test(NAME fuzz.inputs COMMAND fuzz input 400 ${fuzz_digits}.onnx image ${fuzz_png})
add_test(NAME fuzz.plan_made COMMAND gopt run ${fuzz_digits}.onnx --plan ${CMAKE_CURRENT_BINARY_DIR}/fuzz.gplan --threads 1)
add_test(NAME fuzz.plan COMMAND fuzz plan 1000 ${CMAKE_CURRENT_BINARY_DIR}/fuzz.gplan)
set_tests_properties(fuzz.plan_made PROPERTIES FIXTURES_SETUP fuzz_plan)
set_tests_properties(fuzz.plan PROPERTIES FIXTURES_REQUIRED fuzz_plan TIMEOUT 1800)
add_test(NAME fuzz.memory COMMAND memory ${fuzz_digits}.onnx)
set_tests_properties(fuzz.onnx fuzz.gir fuzz.aten fuzz.inputs fuzz.memory PROPERTIES TIMEOUT 1800)

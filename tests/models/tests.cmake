# Whole-program tests on real models.
if(Python3_FOUND OR DEFINED Python3_EXECUTABLE)
  foreach(case digits text optimize run bf16 aten opencl conformance run_light)
    add_test(NAME models.${case}
      COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/models/models.py ${case} $<TARGET_FILE:gopt> ${CMAKE_SOURCE_DIR})
    set_tests_properties(models.${case} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 1800)
  endforeach()
  foreach(case networks exports)
    add_test(NAME models.dynamic_${case}
      COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/models/dynamic.py ${case} $<TARGET_FILE:gopt> ${CMAKE_SOURCE_DIR})
    set_tests_properties(models.dynamic_${case} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 1800)
  endforeach()
endif()
add_test(NAME example.build_network COMMAND example_build_network)
set_tests_properties(example.build_network PROPERTIES PASS_REGULAR_EXPRESSION "3.5 3.5 5\n11.5 11.5 13\n")

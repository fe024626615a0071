# Plan files of whole networks, and the build that runs them without any library but OpenCL.
if(Python3_FOUND)
  foreach(case cpu opencl minimal)
    add_test(NAME plan.${case}
      COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/plan/plan.py ${case} $<TARGET_FILE:gopt> ${CMAKE_SOURCE_DIR}
              ${CMAKE_CURRENT_BINARY_DIR}/plan_minimal)
    set_tests_properties(plan.${case} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 1800
      ENVIRONMENT GOPT_OPENCL_OPTIONS=-cl-opt-disable) # small networks: compiling takes longer than running
  endforeach()
endif()

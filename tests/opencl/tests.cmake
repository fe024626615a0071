# Networks and ONNX's own tests through the opencl backend.
if(Python3_FOUND AND GOPT_HAVE_OPENCL)
  foreach(case trained tensor exports archs copies conformance)
    add_test(NAME opencl.${case}
      COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/opencl/networks.py ${case} $<TARGET_FILE:gopt> ${CMAKE_SOURCE_DIR})
    set_tests_properties(opencl.${case} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 1800 ENVIRONMENT GOPT_OPENCL_KEEP=0)
  endforeach()
  add_test(NAME opencl.fp16 COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/opencl/fp16.py all $<TARGET_FILE:gopt>)
  set_tests_properties(opencl.fp16 PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
  foreach(script steps bench)
    add_test(NAME opencl.${script}
      COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/opencl/${script}.py $<TARGET_FILE:gopt> ${CMAKE_SOURCE_DIR})
    set_tests_properties(opencl.${script} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
  endforeach()
  # many small programs, which run once each
  set_tests_properties(opencl.conformance opencl.exports opencl.fp16 PROPERTIES ENVIRONMENT
    "GOPT_OPENCL_OPTIONS=-cl-opt-disable;GOPT_OPENCL_KEEP=0")
endif()

# ONNX Runtime's own operators against ONNX Runtime.
if(Python3_FOUND OR DEFINED Python3_EXECUTABLE)
  add_test(NAME onnx.contrib
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/contrib/contrib.py $<TARGET_FILE:gopt>)
  set_tests_properties(onnx.contrib PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
endif()

# Strings and classical models against ONNX Runtime.
if(Python3_FOUND OR DEFINED Python3_EXECUTABLE)
  add_test(NAME onnx.ml COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/ml/ml.py $<TARGET_FILE:gopt>)
  set_tests_properties(onnx.ml PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
endif()

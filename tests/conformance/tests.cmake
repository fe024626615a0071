# How `gopt conformance` judges, and the operator table against ONNX's.
if(Python3_FOUND)
  add_test(NAME conformance.judging
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/conformance/judging.py $<TARGET_FILE:gopt>)
  set_tests_properties(conformance.judging PROPERTIES TIMEOUT 600)
  add_test(NAME conformance.schemas
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/conformance/schemas.py $<TARGET_FILE:gopt>)
  set_tests_properties(conformance.schemas PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 600)
endif()

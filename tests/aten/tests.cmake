# PyTorch's operators against PyTorch.
if(Python3_FOUND OR DEFINED Python3_EXECUTABLE)
  add_test(NAME aten.cases
    COMMAND ${Python3_EXECUTABLE} ${CMAKE_CURRENT_SOURCE_DIR}/aten/aten.py $<TARGET_FILE:gopt>)
  set_tests_properties(aten.cases PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 900)
endif()
if(Python3_FOUND OR DEFINED Python3_EXECUTABLE)
  add_test(NAME docs.aten COMMAND ${Python3_EXECUTABLE} ${CMAKE_SOURCE_DIR}/scripts/aten --check)
endif()

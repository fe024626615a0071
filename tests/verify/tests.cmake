# Rules that are wrong on purpose must be found by --verify. Needs Python's standard library alone.
if(Python3_FOUND)
  add_test(NAME verify.planted COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/verify/verify.py $<TARGET_FILE:gopt> ${CMAKE_SOURCE_DIR})
  set_tests_properties(verify.planted PROPERTIES TIMEOUT 600)
endif()

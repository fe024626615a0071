# Networks that are large in one way each: work must grow with them, not with their square.
if(Python3_FOUND)
  foreach(case linear memory)
    add_test(NAME scale.${case} COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/scale/scale.py ${case} $<TARGET_FILE:gopt>)
    set_tests_properties(scale.${case} PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 1800)
  endforeach()
endif()

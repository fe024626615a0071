# What other tools read: Chrome traces, TREx's files, Model Explorer's, and the metadata of written models.
if(Python3_FOUND)
  foreach(case Trace Trex Explorer Meta)
    add_test(NAME others.${case} COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/others/others.py ${case} $<TARGET_FILE:gopt>)
    set_tests_properties(others.${case} PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77)
  endforeach()
endif()

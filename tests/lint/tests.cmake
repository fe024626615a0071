# --lint: each rule where it finds something and where it must not, and what the command line promises.
if(Python3_FOUND)
  foreach(case Rules Command Large)
    add_test(NAME lint.${case} COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/lint/lint.py ${case} $<TARGET_FILE:gopt>)
    set_tests_properties(lint.${case} PROPERTIES TIMEOUT 300)
  endforeach()
  add_test(NAME docs.lint COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/scripts/lint --check $<TARGET_FILE:gopt>)
endif()

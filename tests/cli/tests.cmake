# The command line: exit codes, messages, files and JSON keys. Needs Python's standard library alone.
if(Python3_FOUND)
  foreach(case Usage Bad Inputs Outputs Classes Pictures Cuts Plans)
    add_test(NAME cli.${case} COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/cli/cli.py ${case} $<TARGET_FILE:gopt>)
    set_tests_properties(cli.${case} PROPERTIES TIMEOUT 600)
  endforeach()
endif()

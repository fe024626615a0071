# Plugins: built against the public headers alone, loaded, run, refused.
if(Python3_FOUND)
  add_test(NAME plugin.program COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/plugin/plugin.py $<TARGET_FILE:gopt>
    ${CMAKE_C_COMPILER} ${CMAKE_SOURCE_DIR})
  set_tests_properties(plugin.program PROPERTIES TIMEOUT 300)
endif()

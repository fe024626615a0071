# Tests of the tree itself: include direction, formatting.
if(Python3_FOUND)
  add_test(NAME tree.includes COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/tree/includes.py ${CMAKE_SOURCE_DIR})
endif()
add_test(NAME tree.format COMMAND ${CMAKE_CURRENT_SOURCE_DIR}/tree/format.sh ${CMAKE_SOURCE_DIR})
set_tests_properties(tree.format PROPERTIES SKIP_RETURN_CODE 77)

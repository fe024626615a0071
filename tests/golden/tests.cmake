# Golden cases: one test a folder, so that ctest names the rule or pass that broke.
add_executable(golden golden/golden.c)
target_link_libraries(golden PRIVATE proof)
file(GLOB golden_folders CONFIGURE_DEPENDS LIST_DIRECTORIES true golden/*)
foreach(folder ${golden_folders})
  if(IS_DIRECTORY ${folder})
    get_filename_component(name ${folder} NAME)
    add_test(NAME golden.${name} COMMAND golden ${folder})
  endif()
endforeach()
# The same cases run by ONNX Runtime, before and after; once is enough, and the sanitized program takes long.
if(Python3_FOUND AND NOT CMAKE_C_FLAGS MATCHES "fsanitize")
  add_test(NAME golden.other_runtime
    COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/golden/other_runtime.py $<TARGET_FILE:gopt> ${CMAKE_CURRENT_SOURCE_DIR}/golden)
  set_tests_properties(golden.other_runtime PROPERTIES SKIP_RETURN_CODE 77 TIMEOUT 900)
endif()
# docs/rules.md is what the table and the cases say.
if(Python3_FOUND)
  add_test(NAME docs.ops COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/scripts/ops --check $<TARGET_FILE:gopt>)
  add_test(NAME docs.rules COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/scripts/rules --check $<TARGET_FILE:gopt>)
endif()
add_executable(golden_complete golden/complete.c)
target_link_libraries(golden_complete PRIVATE proof)
add_test(NAME golden_complete COMMAND golden_complete ${CMAKE_CURRENT_SOURCE_DIR}/golden)

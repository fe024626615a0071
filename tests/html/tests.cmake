# The page of --html in a browser: Playwright's Python package, and Debian's chromium. Skipped where one is missing.
if(Python3_FOUND)
  foreach(case Looks Moves Runs Others Keys Hostile Large)
    add_test(NAME html.${case} COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/html/page.py ${case} $<TARGET_FILE:gopt>)
    set_tests_properties(html.${case} PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77)
  endforeach()
endif()

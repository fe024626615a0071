# Graphs that every backend must answer as the reference evaluation does: `gopt compare FILE`.
file(GLOB compare_cases CONFIGURE_DEPENDS compare/*.gir)
foreach(case ${compare_cases})
  get_filename_component(name ${case} NAME_WE)
  add_test(NAME compare.${name} COMMAND gopt compare ${case})
endforeach()
# --budget: limits for continuous integration.
if(Python3_FOUND)
  foreach(case Limits Fusions Refused Reports Example)
    add_test(NAME compare.${case} COMMAND Python3::Interpreter ${CMAKE_CURRENT_SOURCE_DIR}/compare/budget.py ${case} $<TARGET_FILE:gopt>)
    set_tests_properties(compare.${case} PROPERTIES TIMEOUT 300)
  endforeach()
endif()

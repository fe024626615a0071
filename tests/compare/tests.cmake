# Graphs that every backend must answer as the reference evaluation does: `gopt compare FILE`.
file(GLOB compare_cases CONFIGURE_DEPENDS compare/*.gir)
foreach(case ${compare_cases})
  get_filename_component(name ${case} NAME_WE)
  add_test(NAME compare.${name} COMMAND gopt compare ${case})
endforeach()

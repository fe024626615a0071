# Writes generated/build_key.c: a hash of the sources that decide how packed weights lie. Plans of another are refused.
file(GLOB_RECURSE GOPT_KEYED CONFIGURE_DEPENDS src/backend/cpu/* src/backend/opencl/* kernels/*)
set(GOPT_BUILD_KEY ${CMAKE_BINARY_DIR}/generated/build_key.c)
add_custom_command(OUTPUT ${GOPT_BUILD_KEY}
  COMMAND ${CMAKE_COMMAND} -DROOT=${CMAKE_SOURCE_DIR} -DOUT=${GOPT_BUILD_KEY} -P ${CMAKE_SOURCE_DIR}/cmake/build_key_script.cmake
  DEPENDS ${GOPT_KEYED} ${CMAKE_SOURCE_DIR}/cmake/build_key_script.cmake
  COMMENT "Hashing the sources of the backends")

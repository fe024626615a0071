# gopt_embed(VAR PREFIX FILES...): a C source in VAR that holds each file as `const char PREFIX_<stem>[]`.
function(gopt_embed variable prefix)
  set(out ${CMAKE_BINARY_DIR}/generated/${prefix}_embedded.c)
  add_custom_command(
    OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DPREFIX=${prefix} "-DFILES=${ARGN}" -P ${CMAKE_SOURCE_DIR}/cmake/embed_script.cmake
    DEPENDS ${ARGN} ${CMAKE_SOURCE_DIR}/cmake/embed_script.cmake
    COMMENT "Embedding ${prefix}" VERBATIM)
  set(${variable} ${out} PARENT_SCOPE)
endfunction()

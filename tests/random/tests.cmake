# All rewrites on graphs stitched from golden cases.
add_executable(random random/random.c random/back.c random/shrink.c rules/mutate.c rules/seed.c rules/users.c rules/nodes.c rules/values.c rules/types.c)
target_link_libraries(random PRIVATE proof)
add_test(NAME random.graphs COMMAND random 1500 ${CMAKE_CURRENT_SOURCE_DIR}/golden)

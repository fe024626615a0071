# Every rewrite on mutated golden cases.
add_executable(rules rules/rules.c rules/mutate.c rules/seed.c rules/users.c rules/nodes.c rules/values.c rules/types.c)
target_link_libraries(rules PRIVATE proof)
add_test(NAME rules.mutants COMMAND rules ${CMAKE_CURRENT_SOURCE_DIR}/golden)

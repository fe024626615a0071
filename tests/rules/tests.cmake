# Every rewrite on mutated golden cases.
add_executable(rules rules/rules.c rules/mutate.c rules/users.c rules/nodes.c rules/values.c rules/types.c)
target_link_libraries(rules PRIVATE proof)
set(rules_seeds ${golden_folders})
list(FILTER rules_seeds EXCLUDE REGEX "/lower_.*$") # not yet held to it
add_test(NAME rules.mutants COMMAND rules ${rules_seeds})

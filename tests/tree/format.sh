#!/usr/bin/env bash
# Checks that every C file is as clang-format would write it. Exit 77 (skipped) where there is no clang-format.
#   format.sh ROOT [--fix]
set -euo pipefail
cd "$1"
command -v clang-format >/dev/null || { echo "skipped: clang-format is missing"; exit 77; }
mapfile -t files < <(find include src kernels tools tests examples bench \( -name '*.c' -o -name '*.h' \) -not -path '*/generated/*' | sort)
if [ "${2:-}" = --fix ]; then
    clang-format -i "${files[@]}"
    exit
fi
if ! clang-format --dry-run -Werror "${files[@]}" 2>/tmp/format.$$; then
    grep -o '^[^:]*:[0-9]*' /tmp/format.$$ | sort -u | head -40
    rm -f /tmp/format.$$
    echo "not formatted; run: tests/tree/format.sh . --fix"
    exit 1
fi
rm -f /tmp/format.$$
echo "${#files[@]} files are formatted"

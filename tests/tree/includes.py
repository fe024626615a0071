#!/usr/bin/env python3
"""Checks that includes follow the one direction: base <- ir <- ops <- {onnx, aten, passes, lint, viz, backend}.

  includes.py ROOT

Folders in braces never include each other. Kernels see kernels/ headers and libc alone, the public headers see
each other alone, and the program (tools/, examples/) sees the public headers, its own and other libraries'.
"""
import pathlib
import re
import sys

ALLOWED = {
    "src/base": {"base", "gopt"},
    "src/ir": {"base", "ir", "gopt"},
    "src/ops": {"base", "ir", "ops", "gopt"},
    "src/onnx": {"base", "ir", "ops", "onnx", "gopt"},
    "src/aten": {"base", "ir", "ops", "aten", "gopt"},
    "src/passes": {"base", "ir", "ops", "passes", "gopt"},
    "src/lint": {"base", "ir", "ops", "lint", "gopt"},
    "src/viz": {"base", "ir", "ops", "viz", "gopt"},
    "src/backend": {"base", "ir", "ops", "backend", "gopt", "cpu", "opencl"},
    "kernels": {"cpu", "opencl"},
    "include": {"gopt"},
    "tools": {"gopt"},
    "examples": {"gopt"},
}
FOLDERS = {"base", "ir", "ops", "onnx", "aten", "passes", "lint", "viz", "backend", "gopt", "cpu", "opencl"}
INCLUDE = re.compile(r'^\s*#\s*include\s+[<"]([^">]+)[">]', re.M)


def main(root):
    root, bad, seen = pathlib.Path(root), 0, 0
    for folder, allowed in ALLOWED.items():
        for path in sorted((root / folder).rglob("*")):
            if path.suffix not in (".c", ".h", ".def"):
                continue
            seen += 1
            for name in INCLUDE.findall(path.read_text()):
                first = name.split("/")[0]
                if "/" in name and first in FOLDERS and first not in allowed:
                    print(f"{path.relative_to(root)}: includes {name}; {folder} may include {', '.join(sorted(allowed))}")
                    bad += 1
    print(f"{seen} files, {bad} includes against the direction")
    return 1 if bad or not seen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))

"""What tests of the whole program stand on: a folder of their own, and gopt run inside of it."""
import os
import pathlib
import subprocess
import tempfile
import unittest


class Folder(unittest.TestCase):
    """A folder for each test."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.dir = pathlib.Path(self.folder.name)

    def tearDown(self):
        self.folder.cleanup()

    def write(self, name, data):
        (self.dir / name).parent.mkdir(parents=True, exist_ok=True)
        (self.dir / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        return name


class Runs:
    """`program()`, of the class that has this one, says which gopt."""
    patience = 120  # seconds

    def gopt(self, *args, code=0, stdin=subprocess.DEVNULL, env=None):
        p = subprocess.run([self.program(), *map(str, args)], cwd=self.dir, capture_output=True, text=True, stdin=stdin,
                           timeout=self.patience, env={**os.environ, **(env or {})})
        self.assertEqual(p.returncode, code, f"gopt {' '.join(map(str, args))}\n{p.stdout}\n{p.stderr}")
        return p


class Case(Runs, Folder):
    pass


class Shared(Runs, unittest.TestCase):
    """A folder for all tests of a class."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.dir = pathlib.Path(cls.folder.name)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

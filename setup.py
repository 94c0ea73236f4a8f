"""The extension, which pyproject.toml cannot describe yet. Without a compiler the library is slower, not different."""

from setuptools import Extension, setup

setup(ext_modules=[Extension("algolia_events._speedups", ["algolia_events/_speedups.c"], optional=True)])

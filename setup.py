"""The extension, which pyproject.toml cannot describe yet. Without a compiler the library is slower, not different."""

import platform
import sysconfig

from setuptools import Extension, setup

is_of_use = platform.python_implementation() == "CPython" and not sysconfig.get_config_var("Py_GIL_DISABLED")
extension = Extension("algolia_events._speedups", ["algolia_events/_speedups.c"], optional=True)
setup(ext_modules=[extension] if is_of_use else [])

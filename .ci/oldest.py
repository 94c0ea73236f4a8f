"""Print the oldest versions that pyproject.toml allows of what the library depends on, as constraints for pip."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
extras = project["project"]["optional-dependencies"]
lines = [*project["project"]["dependencies"], *extras["cli"], *extras["redis"], *extras["otel"]]
oldest = dict(re.findall(r"^([\w-]+)(?:\[\w+\])?>=([\d.]+)$", "\n".join(lines), re.MULTILINE))
needed = dict(re.findall(r"^([\w-]+)>=([\d.]+)$", "\n".join(project["dependency-groups"]["test"]), re.MULTILINE))
for name, version in oldest.items():
    print(f"{name}=={needed.get(name, version)}")

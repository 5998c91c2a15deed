"""Print the dependencies, those of the extras included, pinned to their oldest allowed versions."""

from pathlib import Path

import tomllib

RUN_TIME_EXTRAS = ("cli", "remote", "keras", "dask")

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = [project["optional-dependencies"][extra] for extra in RUN_TIME_EXTRAS]
for requirement in sum(extras, project["dependencies"]):
    print(requirement.replace(">=", "=="))

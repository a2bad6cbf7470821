"""The commands of the workflows in .github, and what Dependabot updates. No test runs GitHub itself.

`make test-ci` runs the slow tests of this file. Of the copy's workflow, test_recipes.py runs the tests and tests/server the
deployment.
"""

import os
import re
from pathlib import PurePath

import pytest
import yaml
from shell import ROOT, sh

JOBS = {
    name: [step["run"] for step in job["steps"] if "run" in step]
    for file in sorted(ROOT.glob(".github/workflows/*.yml"))
    for name, job in yaml.safe_load(file.read_text())["jobs"].items()
}
# Without those that run all tests, and this file among them.
RUN = {name: [command for command in commands if not command.startswith("make test")] for name, commands in JOBS.items()}


def test_each_make_command_of_a_workflow_has_a_target():
    for command in [command for commands in JOBS.values() for command in commands if command.startswith("make ")]:
        sh(f"{command} --dry-run")


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("job", [name for name, commands in RUN.items() if commands])
def test_the_commands_of_a_workflow_succeed_in_a_fresh_clone(job, clone):
    own = {"SUFFIX": clone.suffix, **dict(variable.split("=") for variable in clone.variables.split())}
    for command in RUN[job]:
        printed = sh(command, cwd=clone.folder, env={**os.environ, **own}, ok=None if job == "audit" else True, timeout=1200)
        if job == "audit":
            # A mirror of PyPI seldom has this list. Then pip-audit must not say that all is well.
            unknown = re.search("not found on PyPI and could not be audited|Could not connect to PyPI", printed)
            assert ("make: *** [" in printed) == bool(unknown), printed
            if unknown:
                pytest.skip("PyPI's list of vulnerabilities is out of reach")


def folders(*patterns):
    """Return the folders with files of this repository that match one of the patterns, as Dependabot names them."""
    files = [PurePath(file) for file in sh("git ls-files --cached --others --exclude-standard").splitlines()]
    return {f"/{file.parent}" for file in files if any(file.match(pattern) for pattern in patterns)}


def test_dependabot_and_the_audit_know_every_folder():
    updates = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    known = {update["package-ecosystem"]: set(update["directories"]) for update in updates}
    # Those in tests/ have the same images as the examples, or are the stand-ins.
    images = {folder for folder in folders("*Dockerfile") if not folder.startswith("/tests/")}
    assert known["docker"] == images and known["docker-compose"] == folders("docker-compose.yaml")
    assert known["uv"] == folders("*requirements*.txt")
    # Dependabot takes / for the first folder.
    assert known["github-actions"] == folders(".github/workflows/*.yml") - {"/.github/workflows"} | {"/"}
    audited = re.findall(r"-r (\S+)", sh("make --dry-run audit"))
    assert audited and set(audited) == set(sh("git ls-files '*requirements*.txt'").split())

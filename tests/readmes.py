"""What a README tells its reader to type. A test that does what a README says takes its commands from it."""

import re


def blocks(readme, heading):
    """Return the blocks of commands under a heading of level 2, in order. Raise AssertionError if there are none."""
    section = readme.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    found = re.findall(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert found, f"{readme} has no commands under {heading}"
    return found

"""Holds slither's findings against explained.toml: each needs a reason there, and each reason there a finding."""

import json
import sys
import tomllib
from pathlib import Path


def place(finding: dict) -> str:
    """Where it is: the contract and the function or variable that the finding starts from, without line numbers."""
    first = finding["elements"][0]
    names = [first["name"]]
    while parent := first.get("type_specific_fields", {}).get("parent"):
        if parent["type"] in ("contract", "function"):
            names.append(parent["name"])
        first = parent
    return ".".join(reversed(names))


def main() -> int:
    answer = json.loads(Path(sys.argv[1]).read_text())
    if not answer["success"]:
        print(answer["error"])
        return 1
    findings = answer["results"].get("detectors", [])
    explained = tomllib.loads((Path(__file__).parent / "explained.toml").read_text()).get("finding", [])
    reasons = {(one["detector"], where): one["reason"] for one in explained for where in one["where"]}

    used, unexplained = set(), 0
    for finding in sorted(findings, key=lambda one: (one["check"], one["description"])):
        key = (finding["check"], place(finding))
        used.add(key)
        if key not in reasons:
            unexplained += 1
            print(f"UNEXPLAINED {finding['impact']}: {key[0]} at {key[1]}\n{finding['description']}")
        elif "--verbose" in sys.argv:
            print(f"explained {finding['impact']}: {key[0]} at {key[1]}\n  {' '.join(reasons[key].split())}")
    gone = sorted(reasons.keys() - used)
    for detector, where in gone:
        print(f"no such finding any more, take it out of explained.toml: {detector} at {where}")
    print(f"slither: {len(findings)} findings, {len(findings) - unexplained} explained, {unexplained} not")
    return 1 if unexplained or gone else 0


if __name__ == "__main__":
    sys.exit(main())

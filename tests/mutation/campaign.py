"""Judges every mutant of the contracts by the forge tests, several at a time, and says which of them no test noticed.

Each worker has a copy of the tree, a compiler that stays loaded, and a finished build in which tests deploy contracts
from their artifacts (foundry's `dynamic_test_linking`). So a mutant is compiled, and the bytecode of each contract that
it is a part of put into the artifact; the sources stay as they were and forge has nothing to build. Outcomes go to a
file named after all that they depend on, from which an interrupted campaign goes on.
"""

import argparse
import contextlib
import hashlib
import json
import logging
import os
import queue
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections import defaultdict
from pathlib import Path

import mutators

SOURCES = Path("contracts/src")
# What is deployed. Each has a file of its own name; the other files are parts of these.
CONTRACTS = ["PrepaymentEscrow", "RoutingTable", "SettlementToken"]
SCORE_MIN = 95.0
HERE = Path("tests/mutation")
WORK = Path("target/mutation")
# What a verdict depends on.
INPUTS = ["contracts/src", "contracts/package-lock.json", "tests/contracts", "foundry.toml", "tests/mutation"]
# A mutant that outlives one stage meets the next. `gas` is apart to show what only a budget, not a law, has noticed.
STAGES = {
    "unit": ["--no-match-path", "tests/contracts/{Gas*,invariants/**}"],
    "gas": ["--match-path", "tests/contracts/Gas*"],
    "invariant": ["--match-path", "tests/contracts/invariants/**"],
}
FORGE = {
    "FOUNDRY_PROFILE": "default",
    "FOUNDRY_SOLC": "tests/mutation/solc",
    "FOUNDRY_DYNAMIC_TEST_LINKING": "true",
    "FOUNDRY_DENY": "never",
    "FOUNDRY_FUZZ_RUNS": "32",
    "FOUNDRY_INVARIANT_RUNS": "8",
    "FOUNDRY_INVARIANT_DEPTH": "32",
    "FOUNDRY_FUZZ_FAILURE_PERSIST_DIR": "target/forge/failures/fuzz",
    "FOUNDRY_INVARIANT_FAILURE_PERSIST_DIR": "target/forge/failures/invariant",
    "MINUS_SOLC_MEMORY": str((WORK / "solc").resolve()),
}
OUTCOMES = ["not compiled", "same bytecode", "duplicate", "killed", "timed out", "survived"]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def main() -> int:
    options = parse_options()
    logging.disable(logging.CRITICAL)
    files = sorted(file for top in INPUTS for file in (Path(top).rglob("*") if Path(top).is_dir() else [Path(top)]))
    files = [file for file in files if file.is_file() and "__pycache__" not in file.parts]
    files = [file for file in files if file.parent != HERE or file.suffix not in (".md", ".toml")]  # what is only said
    state = digest(b"".join(str(file).encode() + b"\0" + file.read_bytes() + b"\0" for file in files))

    base = build(state)
    wanted = [one for one in generate(base) if set(one.contracts) & set(options.contract) and options.file in one.file]
    if options.sample:
        wanted = random.Random(options.seed).sample(wanted, min(options.sample, len(wanted)))
    if options.list:
        for one in wanted:
            print(f"{one.id} {one.place}\n  - {one.lines[0]}\n  + {one.lines[1]}")
        return 0

    results = Results(state, options.recheck)
    pending = [one for one in wanted if one.id not in results.by_id]
    print(f"{len(wanted)} mutants, {len(wanted) - len(pending)} of them judged before")
    if pending:
        judge_all(pending, base, results, options)
    return report([(one, results.by_id[one.id]) for one in wanted if one.id in results.by_id], len(wanted))


def parse_options():
    parser = argparse.ArgumentParser(prog="tests/mutation/run", description="mutation testing of the three contracts")
    parser.add_argument("--contract", action="append", choices=CONTRACTS,
                        help="only files of this one; may be repeated")
    parser.add_argument("--file", default="", metavar="TEXT", help="only files whose path contains this")
    parser.add_argument("--sample", type=int, metavar="N", help="only N mutants, chosen by chance")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="print the mutants and judge none")
    parser.add_argument("--recheck", action="store_true", help="judge only those that survived the last campaign "
                        "on the same contracts: for work on the tests, not for the score")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="mutants at a time (default: one per core)")
    parser.add_argument("--timeout", type=int, default=60, metavar="SECONDS", help="per stage (default: %(default)s)")
    options = parser.parse_args()
    options.contract = options.contract or CONTRACTS
    return options


# ------------------------------------------------------------------------------------------------------- preparation


def build(state: str) -> Path:
    """A copy of the tree with its tests built, from which workers copy theirs; kept while its inputs stay the same."""
    base = WORK / "base"
    if (base / ".state").exists() and (base / ".state").read_text() == state:
        return base
    print("building the tests")
    shutil.rmtree(base, ignore_errors=True)
    # Without `scripts/toolchain`, which in a copy would install into, that is empty, the folder that the link leads to.
    left_out = shutil.ignore_patterns("target", ".git", "node_modules", "__pycache__", "toolchain")
    shutil.copytree(".", base, ignore=left_out)
    (base / "contracts/node_modules").symlink_to(Path("contracts/node_modules").resolve())
    subprocess.run(["forge", "build", "--quiet"], cwd=base, env=os.environ | FORGE, check=True)
    (base / ".state").write_text(state)
    return base


class Candidate:
    """A mutant in its file, `contracts` being what is deployed with that file in it."""

    def __init__(self, base: Path, file: str, contracts: list[str], mutant: mutators.Mutant):
        source = (base / SOURCES / file).read_bytes()
        self.file, self.contracts, self.mutant = file, contracts, mutant
        self.text = mutant.apply(source).decode()
        self.id = digest(f"{file}\0{self.text}".encode())
        self.lines = mutant.lines(source)
        self.place = f"{file}:{mutant.line} {mutant.mutator}"


def generate(base: Path) -> list[Candidate]:
    """All mutants. Slither takes ten seconds to read the contracts, so the list is kept with the build."""
    kept = base / "mutants.json"
    if not kept.exists():
        from slither import Slither

        print("generating the mutants")
        os.environ |= {"FOUNDRY_OUT": "target/slither/out", "FOUNDRY_CACHE_PATH": "target/slither/cache"}
        with contextlib.chdir(base):  # slither takes paths from where it runs
            slither = Slither(".", compile_force_framework="foundry")
        del os.environ["FOUNDRY_OUT"], os.environ["FOUNDRY_CACHE_PATH"]
        declared = defaultdict(list)
        for contract in (contract for unit in slither.compilation_units for contract in unit.contracts):
            declared[contract.source_mapping.filename.absolute].append(contract)
        compiler, trees, users = Compiler(base), {}, defaultdict(list)
        for name in CONTRACTS:
            for file, source in compiler.compile([name])["sources"].items():
                if Path(file).is_relative_to(SOURCES) and "interfaces" not in Path(file).parts:
                    trees[file] = source["ast"]
                    users[file].append(name)
        compiler.stop()
        found = []
        for file in sorted(trees):
            source, contracts = (base / file).read_bytes(), declared[str((base / file).resolve())]
            assert contracts, f"slither has not seen {file}"
            mutants = [vars(mutant) for mutant in mutators.every(contracts, trees[file], source)]
            found.append({"file": str(Path(file).relative_to(SOURCES)), "contracts": users[file], "mutants": mutants})
        kept.write_text(json.dumps(found))
    return [
        Candidate(base, part["file"], part["contracts"], mutators.Mutant(**mutant))
        for part in json.loads(kept.read_text())
        for mutant in part["mutants"]
    ]


class Compiler:
    """`compiler.js` with the settings that the finished build was made with."""

    def __init__(self, tree: Path):
        self.tree = tree
        self.process = subprocess.Popen(
            ["node", HERE / "compiler.js"], cwd=tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def compile(self, contracts: list[str], **changed: str) -> dict:
        """What the compiler says of these contracts, with the text of the `changed` files in place of theirs."""
        settings = json.loads(artifact(self.tree, contracts[0]).read_text())["metadata"]["settings"]
        settings.pop("compilationTarget")
        wanted = ["evm.bytecode.object", "evm.deployedBytecode.object", "evm.deployedBytecode.immutableReferences"]
        settings["outputSelection"] = {str(SOURCES / f"{name}.sol"): {name: wanted} for name in contracts}
        if not changed:
            settings["outputSelection"]["*"] = {"": ["ast"]}
        sources = {f"{name}.sol": (self.tree / SOURCES / f"{name}.sol").read_text() for name in contracts} | changed
        sources = {str(SOURCES / file): {"content": text} for file, text in sources.items()}
        question = {"language": "Solidity", "sources": sources, "settings": settings}
        self.process.stdin.write(json.dumps(question).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def bytecode(self, contracts: list[str], **changed: str) -> dict[str, dict] | None:
        """By contract, its bytecode in the form of an artifact; nothing at all when it does not compile."""
        answer = self.compile(contracts, **changed)
        if any(error["severity"] == "error" for error in answer.get("errors", [])):
            return None
        found = {name: answer["contracts"][str(SOURCES / f"{name}.sol")][name]["evm"] for name in contracts}
        for parts in found.values():
            for part in parts.values():
                part["object"] = "0x" + part["object"]
        return found

    def stop(self):
        self.process.stdin.close()
        self.process.wait()


def artifact(tree: Path, name: str) -> Path:
    return tree / f"target/forge/out/{name}.sol/{name}.json"


# ---------------------------------------------------------------------------------------------------------- judgement


class Results:
    """Outcomes by mutant, each a line of the file as soon as it is known; and which bytecode was judged already."""

    def __init__(self, state: str, recheck: bool):
        self.lock = threading.Lock()
        folder = WORK / "results"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{state}.jsonl"
        earlier = sorted((one for one in folder.iterdir() if one != file), key=lambda one: one.stat().st_mtime)
        lines = [one for one in self.read(earlier[-1]) if one["outcome"] != "survived"] if recheck and earlier else []
        lines += self.read(file) if file.exists() else []
        self.by_id = {one["id"]: one for one in lines}
        self.bytecodes = {one["bytecode"] for one in self.by_id.values() if one.get("bytecode")}
        self.file = file.open("a")

    @staticmethod
    def read(file: Path) -> list[dict]:
        return [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")]

    def first_of(self, bytecode: str) -> bool:
        with self.lock:
            first = bytecode not in self.bytecodes
            self.bytecodes.add(bytecode)
            return first

    def add(self, one: Candidate, outcome: dict):
        with self.lock:
            self.by_id[one.id] = {"id": one.id, "place": one.place, **outcome}
            self.file.write(json.dumps(self.by_id[one.id]) + "\n")
            self.file.flush()


class Worker:
    def __init__(self, number: int, base: Path, timeout: int):
        self.tree, self.timeout = WORK / f"worker-{number}", timeout
        shutil.rmtree(self.tree, ignore_errors=True)
        shutil.copytree(base, self.tree, symlinks=True)
        self.compiler = Compiler(self.tree)
        self.originals = {name: json.loads(artifact(self.tree, name).read_text()) for name in CONTRACTS}

    def check(self):
        """That the tests pass as they are, that both compilers agree, and that what is put into an artifact is what
        the tests meet."""
        for name, compiled in self.compiler.bytecode(CONTRACTS).items():
            assert compiled["bytecode"]["object"] == self.originals[name]["bytecode"]["object"], name
        for stage in STAGES:
            assert self.test(stage)["outcome"] == "survived", f"the {stage} tests fail without a mutant"
        for name in CONTRACTS:
            self.put(name, {"bytecode": {"object": "0x5f5ffd"}})
            assert self.test("unit")["outcome"] == "killed", f"the tests do not deploy {name} from its artifact"
            self.put(name, {})

    def judge(self, one: Candidate, results: Results) -> dict:
        compiled = self.compiler.bytecode(one.contracts, **{one.file: one.text})
        if compiled is None:
            return {"outcome": "not compiled"}
        codes = {name: parts["bytecode"]["object"] for name, parts in compiled.items()}
        if all(code == self.originals[name]["bytecode"]["object"] for name, code in codes.items()):
            return {"outcome": "same bytecode"}
        bytecode = digest(json.dumps(codes).encode())
        if not results.first_of(bytecode):
            return {"outcome": "duplicate"}
        for name, parts in compiled.items():
            self.put(name, parts)
        for stage in STAGES:
            verdict = self.test(stage)
            if verdict["outcome"] != "survived":
                break
        for name in compiled:
            self.put(name, {})
        return {"bytecode": bytecode, **verdict}

    def put(self, name: str, parts: dict):
        """Puts these parts, or the original, where tests deploy the contract from."""
        original = self.originals[name]
        written = original | {part: original[part] | changed for part, changed in parts.items()}
        artifact(self.tree, name).write_text(json.dumps(written))

    def test(self, stage: str) -> dict:
        shutil.rmtree(self.tree / "target/forge/failures", ignore_errors=True)
        command = ["forge", "test", "--fail-fast", "--threads", "1", *STAGES[stage]]
        process = subprocess.Popen(command, cwd=self.tree, env=os.environ | FORGE, text=True, start_new_session=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            output, _ = process.communicate(timeout=self.timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return {"outcome": "timed out", "stage": stage}
        if "No files changed, compilation skipped" not in output:
            raise RuntimeError(f"forge built something anew, so it did not test the mutant:\n{output}")
        if process.returncode == 0:
            return {"outcome": "survived"}
        failed = re.search(r"\[FAIL.*?\b((?:test|invariant|setUp)\w*)\(", output, re.DOTALL)
        if not failed:
            raise RuntimeError(f"forge test failed without a failing test:\n{output}")
        return {"outcome": "killed", "stage": stage, "test": failed[1]}


def judge_all(pending: list[Candidate], base: Path, results: Results, options):
    todo, failures, done = queue.Queue(), [], []
    for one in pending:
        todo.put(one)
    begun, processors = time.monotonic(), processor_seconds()

    def work(number: int):
        worker = None
        try:
            worker = Worker(number, base, options.timeout)
            if number == 0:
                worker.check()
            while not failures:
                one = todo.get_nowait()
                results.add(one, worker.judge(one, results))
                done.append(one.id)
        except queue.Empty:
            pass
        except BaseException as failure:  # whatever it is, it ends the campaign
            failures.append(failure)
        finally:
            if worker:
                worker.compiler.stop()

    threads = [threading.Thread(target=work, args=[number]) for number in range(min(options.workers, len(pending)))]
    for thread in threads:
        thread.start()
    try:
        shown = 0
        while any(thread.is_alive() for thread in threads):
            time.sleep(0.5)
            if done and (sys.stdout.isatty() or len(done) >= shown + 50):
                shown = len(done)
                survived = sum(results.by_id[id]["outcome"] == "survived" for id in done)
                left = (time.monotonic() - begun) / len(done) * (len(pending) - len(done))
                print(f"\r{len(done)}/{len(pending)} judged, {survived} survived, {left / 60:.0f} min left",
                      end="  " if sys.stdout.isatty() else "\n", flush=True)
    except KeyboardInterrupt as failure:
        failures.append(failure)
    for thread in threads:
        thread.join()
    seconds = time.monotonic() - begun
    if done:
        print(f"\n{len(done)} in {seconds:.0f} s: {seconds * len(threads) / len(done):.2f} s per mutant and worker, "
              f"{(processor_seconds() - processors) / len(done):.2f} s of processor time")
    if failures:
        raise failures[0]


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


# ------------------------------------------------------------------------------------------------------------- report


def score(outcomes: list[dict]) -> tuple[int, int, float]:
    """Noticed, judged, and the share of the noticed in percent. What equals the original or another is neither."""
    noticed = sum(outcome["outcome"] in ("killed", "timed out") for outcome in outcomes)
    counted = noticed + sum(outcome["outcome"] == "survived" for outcome in outcomes)
    return noticed, counted, 100 * noticed / counted if counted else 100.0


def table(judged: list[tuple[Candidate, dict]]):
    print(f"\n{'':28}{'made':>7}" + "".join(f"{outcome:>15}" for outcome in OUTCOMES) + f"{'score':>9}")
    for file in [*sorted({one.file for one, _ in judged}), ""]:
        ours = [(one, outcome) for one, outcome in judged if file in ("", one.file)]
        print(row(file or "all", [outcome for _, outcome in ours]))
        for mutator in sorted({one.mutant.mutator for one, _ in ours}):
            print(row(f"  {mutator}", [outcome for one, outcome in ours if one.mutant.mutator == mutator]))


def row(label: str, outcomes: list[dict]) -> str:
    counts = [sum(outcome["outcome"] == name for outcome in outcomes) for name in OUTCOMES]
    percent = f"{score(outcomes)[2]:.1f}%" if score(outcomes)[1] else "-"
    return f"{label:28}{len(outcomes):>7}" + "".join(f"{count or '-':>15}" for count in counts) + f"{percent:>9}"


def report(judged: list[tuple[Candidate, dict]], wanted: int) -> int:
    """Prints it all; 0 if the score is reached and every survivor is explained."""
    explained = tomllib.loads((HERE / "equivalent.toml").read_text()).get("survivor", [])
    reasons = {(one["file"], one["line"], after): one["reason"] for one in explained for after in one["becomes"]}
    table(judged)

    used, unexplained = set(), 0
    for one, outcome in sorted(judged, key=lambda pair: (pair[0].file, pair[0].mutant)):
        key = (one.file, *one.lines)
        change = f"{one.place}\n  - {one.lines[0]}\n  + {one.lines[1]}"
        if outcome["outcome"] == "timed out":
            print(f"\ntimed out in the {outcome['stage']} tests: {change}")
        elif outcome["outcome"] == "survived" and key in reasons:
            used.add(key)
            print(f"\nexplained: {change}\n  = {' '.join(reasons[key].split())}")
        elif outcome["outcome"] == "survived":
            unexplained += 1
            print(f"\nUNEXPLAINED: {change}")
    judged_lines = {(one.file, *one.lines) for one, _ in judged}
    for file, before, after in sorted((reasons.keys() - used) & judged_lines):
        print(f"\nno survivor any more, take it out of {HERE}/equivalent.toml: {file}\n  - {before}\n  + {after}")

    outcomes = [outcome for _, outcome in judged]
    noticed, counted, percent = score(outcomes)
    survived, gas = counted - noticed, sum(outcome.get("stage") == "gas" for outcome in outcomes)
    print(f"\n{noticed} of {counted} noticed: {percent:.1f} %, at least {SCORE_MIN:.0f} % wanted; {gas} by gas alone")
    print(f"{survived} survived, {survived - unexplained} explained in {HERE}/equivalent.toml, {unexplained} not; "
          f"without the explained ones {100 * noticed / max(1, noticed + unexplained):.1f} %")
    if len(judged) < wanted:
        print(f"{wanted - len(judged)} not judged yet")
    return 0 if percent >= SCORE_MIN and not unexplained and len(judged) == wanted else 1


if __name__ == "__main__":
    sys.exit(main())

"""What is changed: every mutant of a file, as the list of places where its text differs.

Two sources. Slither's own mutators, all of them, as they come. They work on the first operator of a statement, know
nothing of assembly and produce much that does not compile; so ours go over the compiler's syntax tree and take every
operator, operand, constant, condition, modifier and statement by itself, in Solidity (`our:…`) and inside inline
assembly (`yul:…`). What both find counts once, for slither.
"""

import importlib
import inspect
import sys
from dataclasses import dataclass

RELATIONS = ["<", "<=", ">", ">=", "==", "!="]
# Each operator and what it is exchanged for.
OPERATORS = {
    **{relation: [other for other in RELATIONS if other != relation] for relation in RELATIONS},
    "+": ["-", "*"], "-": ["+"], "*": ["/", "+"], "/": ["*"], "%": ["/"],
    "&": ["|", "^"], "|": ["&", "^"], "^": ["&", "|"], "<<": [">>"], ">>": ["<<"],
    "&&": ["||"], "||": ["&&"],
}
ASSIGNMENTS = {"+=": ["-=", "="], "-=": ["+=", "="], "|=": ["&=", "="], "&=": ["|=", "="], "=": []}
UNARY = {"++": "--", "--": "++"}
YUL_FUNCTIONS = {
    "add": ["sub"], "sub": ["add"], "mul": ["add"], "div": ["mul"], "mod": ["div"],
    "shl": ["shr"], "shr": ["shl"], "and": ["or"], "or": ["and", "xor"], "xor": ["or"],
    "lt": ["gt", "eq"], "gt": ["lt", "eq"], "slt": ["sgt"], "sgt": ["slt"], "eq": ["lt", "gt"],
    "mstore": ["mstore8"], "mstore8": ["mstore"], "sload": ["tload"], "sstore": ["tstore"], "iszero": ["not"],
    "mload": ["calldataload"], "calldataload": ["mload"], "staticcall": ["call"],
}
YUL_ORDERED = {"sub", "div", "mod", "shl", "shr", "lt", "gt", "mstore", "mstore8", "sstore"}


@dataclass(frozen=True, order=True)
class Mutant:
    """`before`, the bytes from `start` to `end` of a file, become `after`."""

    start: int
    end: int
    before: str
    after: str
    mutator: str
    line: int

    def apply(self, source: bytes) -> bytes:
        return source[: self.start] + self.after.encode() + source[self.end :]

    def lines(self, source: bytes) -> tuple[str, str]:
        """The lines that it touches, before and after, in single spaces: how reports and `equivalent.toml` name it."""
        first = source.rfind(b"\n", 0, self.start) + 1
        last = source.find(b"\n", self.end)
        after = source[first : self.start] + self.after.encode() + source[self.end : last]
        return " ".join(source[first:last].decode().split()), " ".join(after.decode().split())


def every(contracts, tree: dict, source: bytes) -> list[Mutant]:
    """All mutants of one file, each text once: `contracts` is what slither found in it, `tree` the compiler's syntax
    tree."""
    found = [mutant for contract in contracts for mutant in slithers(contract, source)]
    ours = Walk(source)
    ours.visit(tree)
    found += sorted(ours.found)
    seen, once = {source}, []
    for mutant in found:
        text = mutant.apply(source)
        if text not in seen:
            seen.add(text)
            once.append(mutant)
    return once


def slithers(contract, source: bytes):
    """What slither's mutators propose, by way of the method that each of them implements."""
    known = importlib.import_module("slither.tools.mutator.mutators.all_mutators")
    for name, mutator in sorted(inspect.getmembers(known, inspect.isclass)):
        for patch in (patch for file in patches(mutator, contract).values() for patch in file):
            start, end = patch["start"], patch["end"]
            yield Mutant(start, end, source[start:end].decode(), patch["new_string"], name, line_of(source, start))


def patches(mutator, contract) -> dict[str, list[dict]]:
    """One mutator on one contract. Some look in a statement for an operator that is not in its text, and fail; they are
    asked again without that statement, which ours go over anyway."""
    asked, skipped = [], []

    def ask(node):
        asked.append(node)
        return node not in skipped and mutator.should_mutate_node(asking, node)

    while True:
        # LIR collects its literals in a list of its module and would carry those of one contract into the next.
        getattr(sys.modules[mutator.__module__], "literal_replacements", []).clear()
        asking = mutator(contract.compilation_unit, 0, "", "", contract, None, False, None, [])
        asking.should_mutate_node = ask
        try:
            return asking._mutate().get("patches", {})
        except IndexError:
            if not asked or asked[-1] in skipped:
                raise
            skipped.append(asked[-1])


def line_of(source: bytes, offset: int) -> int:
    return source.count(b"\n", 0, offset) + 1


class Walk:
    """Goes down the compiler's syntax tree of one file and collects our mutants in `found`."""

    def __init__(self, source: bytes):
        self.source = source
        self.found: list[Mutant] = []

    def visit(self, node):
        if isinstance(node, list):
            for child in node:
                self.visit(child)
        elif isinstance(node, dict):
            if "nodeType" in node:
                getattr(self, node["nodeType"], lambda _: None)(node)
            for key, child in node.items():
                if isinstance(child, (dict, list)) and key not in ("typeDescriptions", "nativeSrc"):
                    self.visit(child)

    @staticmethod
    def span(node) -> tuple[int, int]:
        start, length, _ = map(int, node["src"].split(":"))
        return start, start + length

    def text(self, node) -> str:
        start, end = self.span(node)
        return self.source[start:end].decode()

    def add(self, mutator: str, start: int, end: int, *replacements: str):
        before = self.source[start:end].decode()
        for after in replacements:
            if after != before:
                self.found.append(Mutant(start, end, before, after, mutator, line_of(self.source, start)))

    def replace(self, mutator: str, node, *replacements: str):
        self.add(mutator, *self.span(node), *replacements)

    def between(self, mutator: str, left, right, operator: str, replacements: list[str]):
        """Exchanges the operator that stands between two expressions."""
        start = self.source.index(operator.encode(), self.span(left)[1])
        assert start < self.span(right)[0], f"no {operator} before byte {self.span(right)[0]}"
        self.add(mutator, start, start + len(operator), *replacements)

    # ---------------------------------------------------------------------------------------------- Solidity

    def BinaryOperation(self, node):
        left, right, operator = node["leftExpression"], node["rightExpression"], node["operator"]
        self.between("our:operator", left, right, operator, OPERATORS.get(operator, []))
        self.replace("our:operand", node, self.text(left), self.text(right))

    def Assignment(self, node):
        operator = node["operator"]
        self.between(
            "our:operator", node["leftHandSide"], node["rightHandSide"], operator, ASSIGNMENTS.get(operator, [])
        )

    def UnaryOperation(self, node):
        operand = self.text(node["subExpression"])
        if node["operator"] in UNARY:
            self.replace("our:operator", node, self.text(node).replace(node["operator"], UNARY[node["operator"]]))
        elif node["operator"] in ("!", "~", "-"):
            self.replace("our:operand", node, operand)

    def Literal(self, node):
        if node["kind"] == "number":
            self.constant("our:constant", node, self.text(node))
        elif node["kind"] == "bool":
            self.replace("our:constant", node, {"true": "false", "false": "true"}[node["value"]])

    def constant(self, mutator, node, text):
        digits, *unit = text.split(" ")
        if "e" in digits and not digits.startswith("0x"):
            return self.replace(mutator, node, f"({text} + 1)", f"({text} - 1)")
        value = int(digits.replace("_", ""), 0)
        write = (lambda number: f"0x{number:0{len(digits) - 2}x}") if digits.startswith("0x") else str
        neighbours = [value + 1] if value == 0 else [value + 1, value - 1]
        self.replace(mutator, node, *(" ".join([write(number), *unit]) for number in neighbours))

    def MemberAccess(self, node):
        # A member of an enumeration, such as a result code, becomes the first and the last one.
        kind = node["typeDescriptions"]["typeString"]
        if kind.startswith("enum ") and node["expression"]["typeDescriptions"]["typeString"] == f"type({kind})":
            name = self.text(node["expression"])
            self.replace("our:constant", node, f"type({name}).min", f"type({name}).max")

    def condition(self, node):
        self.replace("our:condition", node, "true", "false", f"!({self.text(node)})")

    def IfStatement(self, node):
        self.condition(node["condition"])

    def Conditional(self, node):
        self.condition(node["condition"])

    def FunctionCall(self, node):
        callee = node["expression"]
        if callee.get("name") in ("require", "assert"):
            self.condition(node["arguments"][0])
        elif node["kind"] == "functionCall" and callee.get("name") in ("mulmod", "addmod"):
            self.replace("our:operator", callee, {"mulmod": "addmod", "addmod": "mulmod"}[callee["name"]])

    def statement(self, node):
        # The tree leaves the semicolon out, and one by itself is no statement. In the head of a loop there is none.
        start, end = self.span(node)
        if self.source[end : end + 1] == b";":
            self.add("our:statement", start, end + 1, "{}")
        else:
            self.add("our:statement", start, end, "")

    ExpressionStatement = EmitStatement = statement

    def ModifierInvocation(self, node):
        if node.get("kind") == "modifierInvocation":
            self.replace("our:modifier", node, "")

    def UncheckedBlock(self, node):
        start, _ = self.span(node)
        self.add("our:unchecked", start, start + len("unchecked"), "")

    # ---------------------------------------------------------------------------------------- inline assembly

    def YulFunctionCall(self, node):
        name, arguments = node["functionName"], node["arguments"]
        self.replace("yul:operator", name, *YUL_FUNCTIONS.get(name["name"], []))
        if name["name"] in YUL_ORDERED and len(arguments) == 2:
            first, second = self.text(arguments[0]), self.text(arguments[1])
            self.replace("yul:arguments", node, f"{name['name']}({second}, {first})")
        if len(arguments) in (1, 2) and name["name"] in YUL_FUNCTIONS and not name["name"].startswith(("mst", "sst")):
            self.replace("yul:operand", node, *(self.text(argument) for argument in arguments))

    def YulLiteral(self, node):
        if node["kind"] == "number":
            self.constant("yul:constant", node, self.text(node))

    def YulIf(self, node):
        self.replace("yul:condition", node["condition"], "0", "1")

    def YulForLoop(self, node):
        self.replace("yul:condition", node["condition"], "0")

    def YulExpressionStatement(self, node):
        self.replace("yul:statement", node, "")

    def YulAssignment(self, node):
        self.replace("yul:statement", node, "")

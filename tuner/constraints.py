"""Constraints between parameters, such as `model.hidden_a < model.hidden_b`: read, checked and evaluated.

An expression has Python's arithmetic (`+ - * / // % **`), comparisons, `and`, `or`, `not`, `in [...]` and a few functions, and a parameter
stands in it by its name, dots included; a name that Python could not read so, such as `learning-rate`, stands in backticks. All numbers
are doubles. It is evaluated by simpleeval, which walks the syntax tree and knows no attribute, import or built-in: of its peers
asteval brings numpy and assignments, numexpr compiles with `eval`, and the CEL packages bring a grammar that has no `**` and
compares no int with a double. Before that every node is checked here against a list of what is allowed, so that nothing else ever
reaches the evaluator. Weakness: only one thing wrong is told of each expression.
"""

from __future__ import annotations

import ast
import keyword
import math
import operator
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from simpleeval import SimpleEval

from tuner.errors import FieldError
from tuner.parameters import CategoricalParameter, Parameter, is_number, is_same, near, show, show_all

MAX_CONSTRAINTS = 50
MAX_LENGTH = 500
MAX_NODES = 100

_ARITHMETIC: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: math.pow,
}
_ORDER: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_SAMENESS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Eq: is_same,
    ast.NotEq: lambda left, right: not is_same(left, right),
    ast.In: lambda value, listed: any(is_same(value, each) for each in listed),
    ast.NotIn: lambda value, listed: not any(is_same(value, each) for each in listed),
}
_SIGNS: dict[type[ast.AST], Callable[..., Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": abs,
    "exp": math.exp,
    "log": math.log,
    "log2": math.log2,
    "log10": math.log10,
    "max": max,
    "min": min,
    "sqrt": math.sqrt,
}
_CONSTANTS = {"true": True, "false": False, "null": None}
_QUOTED = re.compile(r"\"[^\"]*\"|'[^']*'|`([^`]*)`")
_PLACEHOLDER = "_quoted_{}_"
_PLAIN_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_USAGE = "write it like model.hidden_a < model.hidden_b or optimizer.lr * batch_size <= 1.0"


@dataclass(frozen=True)
class Constraint:
    """Made by `read`, which checks it. Used by one thread at a time."""

    text: str
    names: tuple[str, ...]
    """The parameters it mentions."""
    _tree: ast.expr = field(repr=False, compare=False)
    _evaluator: SimpleEval = field(repr=False, compare=False)

    def holds(self, params: Mapping[str, Any]) -> bool:
        """Whether a configuration satisfies it; so does one that lacks a parameter it mentions.

        Where the arithmetic has no result (a division by zero, a logarithm of nothing, more than a double holds) it does not hold.
        """
        if any(name not in params for name in self.names):
            return True
        self._evaluator.names = {name: _as_double(params[name]) for name in self.names}
        try:
            return bool(self._evaluator.eval(self.text, self._tree))
        except (ArithmeticError, ValueError):
            return False


def read_constraints(
    texts: Iterable[object], parameters: Mapping[str, Parameter]
) -> tuple[tuple[Constraint, ...], list[FieldError]]:
    """The constraints, and what is wrong with them, located as `constraints.INDEX`."""
    found: list[Constraint] = []
    problems: list[FieldError] = []
    for index, text in enumerate(texts):
        try:
            found.append(read(text, parameters))
        except ValueError as error:
            problems.append(FieldError(f"constraints.{index}", str(error)))
    return tuple(found), problems


def read(text: object, parameters: Mapping[str, Parameter]) -> Constraint:
    """One constraint. ValueError says what is wrong with it."""
    if not isinstance(text, str) or not text.strip():
        raise ValueError(f"must be an expression, not {show(text)}; {_USAGE}")
    if len(text) > MAX_LENGTH:
        raise ValueError(f"is {len(text)} characters long; at most {MAX_LENGTH} are allowed")
    tree = _parse(text, parameters)
    checker = _Checker(parameters)
    if checker.kind_of(tree).kind != "truth":
        raise ValueError(f"is a value, not a condition; {_USAGE}")
    if not checker.names:
        raise ValueError("mentions no parameter of the space")
    evaluator = SimpleEval(operators=_OPERATORS, functions=_FUNCTIONS, names={})
    evaluator.nodes[ast.List] = lambda node: [evaluator._eval(each) for each in node.elts]
    for node in ast.walk(tree):
        if isinstance(node, ast.BinOp | ast.Call) and not _mentions(node, checker.names):
            try:
                evaluator.eval(text, node)
            except (ArithmeticError, ValueError):
                raise ValueError(f"has {_shown(node)}, which has no value that a double can hold") from None
    return Constraint(text.strip(), tuple(checker.names), tree, evaluator)


_OPERATORS = {**_ARITHMETIC, **_ORDER, **_SAMENESS, **_SIGNS, ast.Not: operator.not_}


def _mentions(node: ast.AST, names: Iterable[str]) -> bool:
    return not {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}.isdisjoint(names)


def _shown(node: ast.AST) -> str:
    text = ast.unparse(node)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _as_double(value: Any) -> Any:
    return float(value) if is_number(value) else value


def _parse(text: str, parameters: Mapping[str, Parameter]) -> ast.expr:
    """The syntax tree, in which each parameter is one name and each number a double."""
    quoted: dict[str, str] = {}

    def keep(match: re.Match[str]) -> str:
        if match.group(1) is None:
            return match.group()
        placeholder = _PLACEHOLDER.format(len(quoted))
        quoted[placeholder] = match.group(1)
        return placeholder

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python's parser, about "1if" and the like
            tree = ast.parse(_QUOTED.sub(keep, text.strip()), mode="eval").body
        size = sum(1 for _ in ast.walk(tree))
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise ValueError(f"cannot be read: {show(text)}; {_USAGE}{_keyword_hint(parameters)}") from None
    if size > MAX_NODES:
        raise ValueError(f"has {size} parts; at most {MAX_NODES} are allowed: divide it into several constraints")
    renamed = _Names(quoted, parameters).visit(tree)
    assert isinstance(renamed, ast.expr)
    return renamed


def _keyword_hint(parameters: Mapping[str, Parameter]) -> str:
    awkward = [name for name in parameters if not _is_plain(name)]
    return f"; names such as {awkward[0]} stand in backticks" if awkward else ""


def _is_plain(name: str) -> bool:
    return bool(_PLAIN_NAME.fullmatch(name)) and not any(keyword.iskeyword(part) for part in name.split("."))


class _Names(ast.NodeTransformer):
    """Makes `a.b` the one name it is, takes names out of backticks, and turns numbers into doubles."""

    def __init__(self, quoted: Mapping[str, str], parameters: Mapping[str, Parameter]) -> None:
        self._quoted = quoted
        self._parameters = parameters

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        parts = [node.attr]
        inner = node.value
        while isinstance(inner, ast.Attribute):
            parts.append(inner.attr)
            inner = inner.value
        if not isinstance(inner, ast.Name) or inner.id in self._quoted:
            raise ValueError(f"has .{parts[-1]} after something that is no name: a value has no attributes here")
        return ast.Name(".".join([inner.id, *reversed(parts)]))

    def visit_Name(self, node: ast.Name) -> ast.expr:
        name = self._quoted.get(node.id, node.id)
        if name not in self._parameters and node.id in _CONSTANTS:
            return ast.Constant(_CONSTANTS[node.id])
        return ast.Name(name)

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        if not is_number(node.value):
            return node
        try:
            return ast.Constant(float(node.value))
        except OverflowError:
            raise ValueError("has a number that is too large for a double") from None


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """What an expression gives. `values`: all there are, where they are choices; `name`: of the parameter it is."""

    kind: Literal["number", "truth", "choice"]
    values: Sequence[Any] | None = None
    name: str | None = None


_NUMBER, _TRUTH = _Kind(kind="number"), _Kind(kind="truth")


class _Checker:
    """Goes through a tree and refuses, by ValueError, whatever is not on the list. `names`: the parameters found."""

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        self._parameters = parameters
        self.names: dict[str, None] = {}

    def kind_of(self, node: ast.AST) -> _Kind:
        match node:
            case ast.Name():
                return self._parameter(node.id)
            case ast.Constant():
                return _literal(node)
            case ast.UnaryOp(op=ast.Not()):
                self._require("truth", node.operand, "not")
                return _TRUTH
            case ast.UnaryOp(op=ast.USub() | ast.UAdd()):
                self._require("number", node.operand, "a sign")
                return _NUMBER
            case ast.BinOp() if type(node.op) in _ARITHMETIC:
                for side in (node.left, node.right):
                    self._require("number", side, "arithmetic")
                return _NUMBER
            case ast.BinOp(op=ast.BitAnd() | ast.BitOr()):
                raise ValueError("has & or |: write and, or")
            case ast.BoolOp():
                for part in node.values:
                    self._require("truth", part, "and, or")
                return _TRUTH
            case ast.Compare():
                sides = [node.left, *node.comparators]
                for operation, left, right in zip(node.ops, sides, sides[1:], strict=False):
                    self._compare(operation, left, right)
                return _TRUTH
            case ast.Call():
                return self._call(node)
        raise ValueError(f"has {_WORDS.get(type(node), 'something')} that constraints do not know; {_USAGE}")

    def _parameter(self, name: str) -> _Kind:
        parameter = self._parameters.get(name)
        if parameter is None:
            if name in _FUNCTIONS:
                raise ValueError(f"has the function {name} without arguments")
            raise ValueError(f"{show(name)} is no parameter of the space; {near(name, self._parameters)}")
        self.names[name] = None
        if not isinstance(parameter, CategoricalParameter) or all(is_number(choice) for choice in parameter.choices):
            return _Kind(kind="number", name=name)
        if all(isinstance(choice, bool) for choice in parameter.choices):
            return _Kind(kind="truth", name=name)
        return _Kind(kind="choice", values=parameter.choices, name=name)

    def _require(self, kind: str, node: ast.AST, who: str) -> None:
        found = self.kind_of(node)
        if found.kind == kind:
            return
        wanted = "a number" if kind == "number" else "a condition"
        if found.name is None:
            raise ValueError(f"{who} needs {wanted} on each side, not {_shown(node)}")
        what = show_all(found.values) if found.values is not None else _NOUNS[found.kind]
        raise ValueError(f"{who} needs {wanted}, and {found.name} is {what if found.values is None else f'one of {what}'}")

    def _compare(self, operation: ast.cmpop, left: ast.expr, right: ast.expr) -> None:
        if type(operation) in _ORDER:
            for side in (left, right):
                self._require("number", side, "an order (<, <=, >, >=)")
        elif isinstance(operation, ast.In | ast.NotIn):
            if not isinstance(right, ast.List) or not right.elts:
                raise ValueError("in needs a list of values, such as optimizer.name in ['adam', 'adamw']")
            for each in right.elts:
                if not isinstance(each, ast.Constant) and not isinstance(each, ast.UnaryOp):
                    raise ValueError(f"a list holds values only, not {_shown(each)}")
                self._same(left, each)
        elif type(operation) in _SAMENESS:
            self._same(left, right)
        else:
            raise ValueError("has is: write == or !=")

    def _same(self, left: ast.expr, right: ast.expr) -> None:
        """Refuses to compare what can never be equal."""
        one, other = self.kind_of(left), self.kind_of(right)
        for choices, node in ((one, right), (other, left)):
            if choices.kind == "choice" and choices.name is not None and isinstance(node, ast.Constant):
                assert choices.values is not None
                if not any(is_same(node.value, choice) for choice in choices.values):
                    raise ValueError(
                        f"{choices.name} is never {show(node.value)}; {near(node.value, map(_bare, choices.values))}"
                    )
                return
        if one.kind != other.kind:
            pair = f"{_shown(left)} ({_NOUNS[one.kind]}) with {_shown(right)} ({_NOUNS[other.kind]})"
            raise ValueError(f"compares {pair}, which are never equal")

    def _call(self, node: ast.Call) -> _Kind:
        name = node.func.id if isinstance(node.func, ast.Name) else None
        if name not in _FUNCTIONS:
            raise ValueError(f"calls {_shown(node.func)}; the functions are {', '.join(_FUNCTIONS)}")
        least, most = (2, 20) if name in ("max", "min") else (1, 1)
        if node.keywords or not least <= len(node.args) <= most:
            raise ValueError(f"{name} takes {'one number' if most == 1 else f'{least} to {most} numbers'}")
        for argument in node.args:
            self._require("number", argument, name or "")
        return _NUMBER


_NOUNS = {"number": "a number", "truth": "true or false", "choice": "a choice"}
_WORDS: dict[type[ast.AST], str] = {
    ast.Subscript: "an index",
    ast.Lambda: "a lambda",
    ast.IfExp: "an if",
    ast.List: "a list without in",
    ast.Tuple: "a tuple",
    ast.Dict: "a mapping",
    ast.JoinedStr: "a formatted text",
    ast.ListComp: "a comprehension",
    ast.GeneratorExp: "a comprehension",
    ast.NamedExpr: "an assignment",
    ast.BinOp: "an operator",
    ast.UnaryOp: "an operator",
}


def _literal(node: ast.Constant) -> _Kind:
    value = node.value
    if isinstance(value, bool):
        return _TRUTH
    if is_number(value):
        if not math.isfinite(value):
            raise ValueError("has a number that is too large for a double")
        return _NUMBER
    if value is None or isinstance(value, str):
        return _Kind(kind="choice", values=(value,))
    raise ValueError(f"has {show(value)}, which no parameter can be")


def _bare(value: object) -> str:
    return value if isinstance(value, str) else show(value)

"""Find the branches that stand in an expression, where a reader does not look for them."""

import ast
import re
from collections.abc import Iterator

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)

FORMS = (ast.BinOp, ast.AugAssign, ast.Subscript, ast.Expr, ast.Starred, ast.Dict, ast.Assign)
FORMS += (ast.IfExp, ast.BoolOp, ast.Call, *COMPREHENSIONS)
"""The nodes that may hide a branch: few of all, so that the others are passed over at once."""

TRUTH_NAME = re.compile(
    r"(is|has|have|are|may|can|shows|wants?|keeps)_\w+|any|all|bool|is[a-z]+|(starts|ends)with|equal|exists"
)
"""The last part of a name that is true or false, or of a function that answers yes or no."""


def is_truth(node: ast.AST) -> bool:
    """Return whether an expression is true or false by its form or by its name."""
    match node:
        case ast.Compare() | ast.UnaryOp(op=ast.Not()):
            return True
        case ast.BoolOp(values=values):
            return all(map(is_truth, values))
        case ast.Call(func=named) | (ast.Name() | ast.Attribute() as named):
            return TRUTH_NAME.fullmatch(ast.unparse(named).rpartition(".")[2]) is not None
    return False


def is_number(node: ast.AST) -> bool:
    """Return whether a node is a literal number."""
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def hidden_branches(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, form) for each expression that hides a branch or does two things at once."""
    nodes = [*ast.walk(tree)]
    tests = _tests(nodes)
    for node in nodes:
        if not isinstance(node, FORMS):
            continue
        form = _hidden_branch(node)
        if form is None and node not in tests and _is_branch_by_and(node):
            form = "x and f(x)"
        if form:
            yield getattr(node, "lineno", 0), form


DECIDING = (ast.If, ast.While, ast.IfExp, ast.Assert, ast.UnaryOp, ast.comprehension)
DECIDING += (ast.match_case, ast.Call, ast.BoolOp, ast.NamedExpr)
"""The nodes with a part of which only the truth may matter."""


def _tests(nodes: list[ast.AST]) -> set[ast.AST]:
    """Return the expressions of which only the truth matters, such as the test of an `if`."""
    tests: set[ast.AST] = set()
    for node in nodes:
        if not isinstance(node, DECIDING):
            continue
        match node:
            case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
                tests.add(test)
            case ast.Assert(test=test) | ast.UnaryOp(op=ast.Not(), operand=test):
                tests.add(test)
            case ast.comprehension(ifs=conditions):
                tests.update(conditions)
            case ast.match_case(guard=ast.expr() as guard):
                tests.add(guard)
            case ast.Call(func=ast.Name(id="bool" | "any" | "all"), args=[argument]):
                tests.add(argument.elt if isinstance(argument, ast.GeneratorExp) else argument)
        # `ast.walk` reaches an operand after the expression that it is part of.
        match node:
            case ast.BoolOp(values=values) if node in tests:
                tests.update(values)
            case ast.NamedExpr(value=value) if node in tests:
                tests.add(value)
    return tests


def _is_branch_by_and(node: ast.AST) -> bool:
    """Return whether a value is made only if another one is there: `place and replace(place)`."""
    match node:
        case ast.BoolOp(op=ast.And(), values=[*conditions, made]) if not is_truth(made):
            if isinstance(made, ast.Constant | ast.BinOp | ast.JoinedStr):
                return True
            if not isinstance(made, ast.Call):
                return False
            parts = {ast.unparse(part) for part in ast.walk(made)}
            return any(ast.unparse(condition) in parts for condition in conditions)
    return False


def _hidden_branch(node: ast.AST) -> str | None:
    """Return the form in which this node hides a branch, None if it does not."""
    match node:
        case ast.BinOp() | ast.AugAssign():
            return _hidden_arithmetic(node)
        case ast.Subscript(value=ast.Tuple() | ast.List(), ctx=ast.Load()):
            return "[a, b][c]"
        case ast.Expr(value=ast.IfExp()):
            return "f() if c else g()"
        case ast.Starred(value=ast.IfExp()):
            return "*(x if c else ())"
        case ast.Dict(keys=keys, values=values):
            merged = [value for key, value in zip(keys, values, strict=True) if key is None]
            if any(isinstance(value, ast.IfExp) for value in merged):
                return "**(x if c else {})"
        case ast.Assign(targets=[ast.Tuple(), *_], value=ast.GeneratorExp()):
            return "a, b = (... for ...)"
        case ast.IfExp(body=body, orelse=otherwise, test=test):
            if any(isinstance(part, ast.IfExp) for part in (body, otherwise, test)):
                return "chained conditional"
        case ast.Call(func=ast.IfExp() | ast.BoolOp()):
            return "(f if c else g)()"
        case ast.Call(func=ast.Call(func=ast.Name(id="getattr"))):
            return "getattr(x, name)()"
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            return _hidden_loop(node)
    return None


def _hidden_arithmetic(node: ast.BinOp | ast.AugAssign) -> str | None:
    """Return the form in which a sum, a product or a union hides a branch, None for a plain one."""
    match node:
        case ast.BinOp(op=ast.Mult(), left=left, right=right):
            if is_truth(left) and not is_number(right):
                return "text * bool"
            if is_truth(right) and not is_number(left):
                return "text * bool"
        case ast.BinOp(op=ast.Add() | ast.Sub(), left=left, right=right):
            if is_number(left) and is_truth(right):
                return "1 + flag"
        case ast.BinOp(op=ast.BitOr(), right=ast.IfExp()):
            return "x | (a if c else {})"
        case ast.AugAssign(op=ast.Add() | ast.Sub(), value=value) if is_truth(value):
            return "x += flag"
        case ast.AugAssign(value=ast.IfExp()):
            return "x += a if c else b"
    return None


def _hidden_loop(
    node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp,
) -> str | None:
    """Return the form of a comprehension that holds too much, None for a plain one."""
    for generator in node.generators:
        if isinstance(generator.iter, ast.List | ast.Tuple) and len(generator.iter.elts) == 1:
            return "for x in [one]"
    num_inner = sum(isinstance(part, COMPREHENSIONS) for part in ast.walk(node)) - 1
    if num_inner >= 2 or len(node.generators) > 2:
        return "comprehension in comprehension in comprehension"
    return None

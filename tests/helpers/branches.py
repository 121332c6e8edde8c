"""Find the branches that stand in an expression, where a reader does not look for them."""

import ast
import re
from collections.abc import Iterator

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def is_truth(node: ast.AST) -> bool:
    """Return whether an expression is true or false by its form or by its name."""
    if isinstance(node, ast.Compare):
        return True
    asks = (
        r"not |(bool|any|all|isinstance)\(|([\w.]+\.)?(is|has|are|may|can|shows|wants?|keeps)_\w+$"
    )
    return re.match(asks, ast.unparse(node)) is not None


def is_number(node: ast.AST) -> bool:
    """Return whether a node is a literal number."""
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float)


def hidden_branches(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (line, form) for each expression that hides a branch or does two things at once."""
    for node in ast.walk(tree):
        if form := _hidden_branch(node):
            yield getattr(node, "lineno", 0), form


def _hidden_branch(node: ast.AST) -> str | None:
    """Return the form in which this node hides a branch, None if it does not."""
    match node:
        case ast.BinOp(op=ast.Mult(), left=left, right=right):
            if is_truth(left) and not is_number(right):
                return "text * bool"
            if is_truth(right) and not is_number(left):
                return "text * bool"
        case ast.BinOp(op=ast.BitOr(), right=ast.IfExp()):
            return "x | (a if c else {})"
        case ast.Subscript(value=ast.Tuple() | ast.List(), ctx=ast.Load()):
            return "[a, b][c]"
        case ast.Expr(value=ast.IfExp()):
            return "f() if c else g()"
        case ast.Starred(value=ast.IfExp()):
            return "*(x if c else ())"
        case ast.AugAssign(value=ast.IfExp()):
            return "x += a if c else b"
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

"""Count what a reader of the package must hold in the head: tokens, and branches in expressions.

Comments, docstrings, blank lines and line breaks are free, so that neither a wide line nor a
missing paragraph makes a number smaller.
"""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FREE_TOKENS = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
SCRIPT_SUFFIXES = (".js", ".html", ".css", ".tcss")
"""Files of the package in other languages."""


def docstring_lines(tree: ast.Module) -> set[int]:
    """Return the lines of all docstrings: strings that are statements, wherever they stand."""
    lines: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Constant):
            continue
        if isinstance(node.value.value, str):
            lines.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def whole_strings(tokens: Iterator[tokenize.TokenInfo]) -> Iterator[tokenize.TokenInfo]:
    """Yield tokens, an f-string as one: Python divides it since 3.12."""
    depth = 0
    for token in tokens:
        if tokenize.tok_name[token.type] == "FSTRING_END":
            depth -= 1
        elif depth == 0:
            yield token
        if tokenize.tok_name[token.type] == "FSTRING_START":
            depth += 1


def count_source(source: str) -> Counter[str]:
    """Count the tokens, lines, comments, calls and branches of one source file."""
    tree = ast.parse(source)
    documented = docstring_lines(tree)
    counts: Counter[str] = Counter()

    # Lines with code, and tokens that are not free.
    for number, line in enumerate(source.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#") and number not in documented:
            counts["lines"] += 1
    for token in whole_strings(tokenize.generate_tokens(io.StringIO(source).readline)):
        if token.type == tokenize.COMMENT:
            counts["comments"] += 1
        is_docstring = token.type == tokenize.STRING and token.start[0] in documented
        if token.type not in FREE_TOKENS and not is_docstring:
            counts["tokens"] += 1

    # Branches and pairs inside expressions, and how arguments are passed.
    for node in ast.walk(tree):
        if isinstance(node, ast.IfExp):
            counts["conditional expressions"] += 1
        if isinstance(node, COMPREHENSIONS):
            counts["comprehensions"] += 1
        if isinstance(node, ast.Call):
            counts["positional arguments"] += len(node.args)
            counts["keyword arguments"] += len(node.keywords)
        match node:
            case ast.Assign(targets=[ast.Tuple(), *_], value=ast.Tuple()):
                counts["tuple assignments"] += 1

    # Paragraphs in the bodies of functions, without docstrings.
    lines = source.splitlines()
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for function in [node for node in ast.walk(tree) if isinstance(node, functions)]:
        start = function.body[0].lineno - 1
        if function.body[0].lineno in documented:
            start = function.body[0].end_lineno or start
        body = lines[start : function.end_lineno]
        counts["body lines"] += len(body)
        counts["blank lines"] += sum(not line.strip() for line in body)
    return counts


def count_script(text: str) -> int:
    """Count the words, strings and signs of JavaScript, HTML or CSS; comments are free. An
    apostrophe in a sentence begins no string: a string ends on its line."""
    text = re.sub(r"/\*.*?\*/|<!--.*?-->|^\s*//.*?$", " ", text, flags=re.DOTALL | re.MULTILINE)
    return len(re.findall(r"\w+|\"[^\"\n]*\"|'[^'\n]*'|[^\s\w]", text))


def count_package(folder: Path) -> Counter[str]:
    """Add the counts of all Python files below a folder."""
    total: Counter[str] = Counter()
    for path in folder.rglob("*.py"):
        total += count_source(path.read_text(encoding="utf-8"))
    return total


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

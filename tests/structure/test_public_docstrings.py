"""What the docstrings of the public functions and methods say: every argument, the result, the
errors, and an example, which runs."""

import builtins
import contextlib
import dataclasses
import doctest
import importlib
import inspect
import io
import re
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest
from built_runs import build_chain, build_quoting
from conftest import copy_run
from docstrings import described_fields, read_entries, read_sections
from known_weights import quoting_text

import charrnn
from charrnn import errors
from charrnn.cells.study import Study

PACKAGE = Path(charrnn.__file__).parent
NUM_CHARS = 3_000
"""Characters of the text that the examples measure."""
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def is_method(value):
    """Whether a value is called as a method: `inspect.isroutine` of Python 3.13.0 is true of a
    `cached_property`, too."""
    return inspect.isroutine(value) and callable(value)


def methods_of(cls):
    """Yield the name and the function of each method of a class that `dir` lists for its users."""
    for name in dir(cls.__new__(cls)):
        method = getattr(cls, name, None)
        function = getattr(method, "__func__", method)
        is_ours = str(getattr(function, "__module__", None)).startswith("charrnn.")
        if not name.startswith("_") and is_method(function) and is_ours:
            yield f"{cls.__name__}.{name}", function


def classes_of_modules_with(text):
    """Yield the classes of the modules of the package in which a text stands."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if text in path.read_text(encoding="utf-8"):
            parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
            module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
            for value in vars(module).values():
                if inspect.isclass(value) and value.__module__ == module.__name__:
                    yield value


def documented_methods():
    """Yield the name and the function of each other method that has an example, such as those of
    results."""
    for cls in classes_of_modules_with(" Example:\n"):
        for name, method in vars(cls).items():
            function = getattr(method, "__func__", method)
            if is_method(function) and " Example:\n" in str(function.__doc__):
                yield f"{cls.__name__}.{name}", function


def public_callables():
    """Return the functions and methods of the public names, of the study of a model, and those that
    have an example, by name."""
    found = dict(documented_methods())
    for name in charrnn.__all__:
        value = getattr(charrnn, name)
        if inspect.isfunction(value):
            found[name] = value
        elif inspect.isclass(value) and not issubclass(value, Exception):
            found.update(methods_of(value))
    found.update(methods_of(Study))
    # A method that classes inherit is read once, by the name of the last class.
    return {
        name: function for function, name in {call: name for name, call in found.items()}.items()
    }


def public_records():
    """Return the dataclasses among the public names, and the events of a training."""
    values = [getattr(charrnn, name) for name in charrnn.__all__]
    values += typing.get_args(charrnn.TrainEvent)
    return [value for value in values if inspect.isclass(value) and dataclasses.is_dataclass(value)]


def all_records():
    """Return the dataclasses of the package by name."""
    found = {}
    for cls in classes_of_modules_with("@dataclass"):
        if dataclasses.is_dataclass(cls):
            found.setdefault(cls.__name__, []).append(cls)
    return found


def returned_records():
    """Return the dataclasses that the public functions and methods return, and those that are named
    in the types of their fields, and so on."""
    by_name = all_records()
    types = [str(inspect.signature(call).return_annotation) for call in CALLABLES.values()]
    found = {}
    for record in public_records():
        types.append(record.__name__)
    while types:
        for name in re.findall(r"\w+", types.pop()):
            for record in by_name.pop(name, []):
                found[f"{record.__module__}.{name}"] = record
                types += [str(field.type) for field in dataclasses.fields(record)]
    return [found[name] for name in sorted(found)]


CALLABLES = public_callables()
every_callable = pytest.mark.parametrize("name", sorted(CALLABLES))


@pytest.mark.parametrize("record", returned_records(), ids=lambda record: record.__qualname__)
def test_every_field_of_a_result_has_a_docstring_below_it(record):
    fields = {field.name for field in dataclasses.fields(record) if not field.name.startswith("_")}
    assert fields <= described_fields(record)


@every_callable
def test_a_docstring_begins_with_a_sentence_on_a_line(name):
    first, *rest = read_sections(CALLABLES[name])[""].splitlines()
    assert first.endswith(".") and first[0].isupper()
    assert not rest or rest[0] == "", "the summary is one line"


@every_callable
def test_every_argument_is_described(name):
    function = CALLABLES[name]
    described = {*read_entries(read_sections(function).get("Args", ""))}
    marks = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    expected = {
        marks.get(parameter.kind, "") + parameter.name
        for parameter in inspect.signature(function).parameters.values()
        if parameter.name not in ("self", "cls")
    }
    if inspect.unwrap(function) is not function:
        assert described < expected
        described |= described_fields(inspect.unwrap(function).__annotations__["options"])
    assert described == expected


@every_callable
def test_the_result_is_described_and_the_errors_exist(name):
    function = CALLABLES[name]
    sections = read_sections(function)
    if inspect.isgeneratorfunction(function):
        assert "Yields" in sections
    elif inspect.signature(function).return_annotation not in (None, "None"):
        assert "Returns" in sections
    for error in read_entries(sections.get("Raises", "")):
        assert issubclass(getattr(errors, error, getattr(builtins, error, None)), Exception)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, train_run):
    """Return a folder with the text and the runs of the examples."""
    folder = tmp_path_factory.mktemp("examples")
    runs = folder / "checkpoints"
    runs.mkdir()
    corpus = folder / "shakespeare.txt"
    corpus.write_text(quoting_text(30_000), encoding="utf-8", newline="\n")
    build_quoting(runs / "shakespeare", corpus)
    names = folder / "names.txt"
    names.write_text("anna\nhannah\nana\n" * 300, encoding="utf-8", newline="\n")
    build_chain(runs / "hello", "\nhelo")
    trained = {
        "first": {"cell_type": "rnn"},
        "second": {"cell_type": "gru"},
        "third": {"cell_type": "rnn"},
        "names": {"documents": "lines", "corpus": (str(names),)},
    }
    for name, settings in trained.items():
        copy_run(train_run(name, steps=4, **settings).path, runs / name)
    return folder


@pytest.fixture(scope="module")
def names(folder):
    """Return the names that the examples use: a model, a text of its kind, and its study."""
    model = charrnn.load(folder / "checkpoints" / "shakespeare")
    text = model.held_out()[:NUM_CHARS]
    return {"charrnn": charrnn, "model": model, "text": text, "study": model.study(text)}


def outputs_of(docstring: str, names: dict) -> Iterator[tuple[doctest.Example, str]]:
    """Run the lines of the examples of a docstring one after the other; yield each with what it
    prints."""
    for example in doctest.DocTestParser().get_examples(docstring):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(example.source, "<example>", "single"), names)
        yield example, printed.getvalue()


@pytest.mark.slow
@every_callable
def test_the_example_runs(name, names, folder, monkeypatch):
    monkeypatch.chdir(folder)
    example = read_sections(CALLABLES[name])["Example"]
    outputs = list(outputs_of(example, {**names}))
    assert outputs
    for line, printed in outputs:
        if line.want:
            is_same = doctest.OutputChecker().check_output(line.want, printed, OPTIONS)
            assert is_same, f"{line.source}{printed}"

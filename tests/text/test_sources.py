"""What names of corpora stand for, which locations are recorded, and the order of the files of a
folder."""

import glob
import hashlib
import os
import ssl
import sysconfig
from functools import partial
from pathlib import Path
from urllib.error import URLError

import pytest
from read_texts import read_corpus
from streams import Stream

from charrnn.config.settings import Config
from charrnn.errors import DataError, NotHereError
from charrnn.text.sources import (
    fetch,
    find_origin,
    load_catalogue,
    seeded_digest,
)

TEXT = "It was the best of times, it was the worst of times.\n"


@pytest.fixture(autouse=True)
def books(here):
    for name in ("book/b.txt", "book/deep/a.txt", "dickens.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(TEXT)


def locations(corpus):
    return tuple(origin.location for origin in corpus.source_text.origins)


def find(source, *, is_named_by_run=False, order="shuffled"):
    return find_origin(source, Config(order=order), is_named_by_run=is_named_by_run)


@pytest.mark.parametrize("source", ["dickens", "./dickens.txt", "book/", "book/**/*.txt"])
def test_it_is_found_from_elsewhere(source, here, tmp_path, monkeypatch):
    found = find(source)
    assert found.location is not None
    assert os.path.isabs(found.location)
    assert locations(read_corpus([source])) == (found.location,)
    monkeypatch.chdir(tmp_path)
    again = find(found.location, is_named_by_run=True)
    assert again.location == found.location
    assert [os.path.realpath(path) for path in again.paths] == [
        os.path.realpath(here / path) for path in found.paths
    ]
    assert again.skips_unusable == found.skips_unusable


def test_locations_are_those_of_the_sources(here, tmp_path, monkeypatch):
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "austen.txt").write_text(TEXT)
    monkeypatch.setenv("CHARRNN_CORPORA", os.path.join("..", "shelf"))
    monkeypatch.setattr("sys.stdin", Stream(TEXT.encode()))
    corpus = read_corpus(["austen", "-", "b*/*.txt", "book"])
    pattern = os.path.join(glob.escape(str(here)), "b*/*.txt")
    assert locations(corpus) == (
        str(tmp_path / "shelf" / "austen.txt"),
        None,
        pattern,
        str(here / "book"),
    )
    assert locations(read_corpus([])) == (sysconfig.get_paths()["stdlib"],)


def test_a_location_that_leads_nowhere_is_not_here(here):
    for location in (
        str(here / "gone.txt"),
        str(here / "gone*"),
        "",
        "/nul\0byte",
        "/\ud800/*",
        "/*" * 2000,
    ):
        with pytest.raises(NotHereError):
            find(location, is_named_by_run=True)


def put_run(path):
    """What a run leaves that looks like text, in a folder."""
    Path(path, "step-00000001").mkdir(parents=True)
    for name in ("config.yaml", "vocab.json", "samples.txt", "step-00000001/config.txt"):
        Path(path, name).write_text("step 1\n")


@pytest.mark.parametrize("source", [".", "**/*.txt", "book/../book/../**/*.t*"])
def test_a_run_in_the_folder_that_it_learned_is_not_part_of_it(source):
    before = read_corpus([source], order="sorted")
    put_run("checkpoints/here-001")
    put_run("book/run")
    after = read_corpus([source], order="sorted")
    assert after.content == before.content
    skipped = [note for note in after.notes if note.startswith("skipped")]
    assert skipped == (["skipped in .: 2 runs"] if source == "." else [])


def test_what_a_run_names_is_neither_downloaded_nor_waited_for(monkeypatch):
    monkeypatch.setattr("charrnn.text.sources.fetch", lambda *_, **__: pytest.fail("downloads"))
    with pytest.raises(
        NotHereError, match=r"'shakespeare' is not here.*charrnn corpora fetch shakespeare"
    ):
        find("shakespeare", is_named_by_run=True)
    os.mkfifo("pipe")
    for look in (
        lambda: find("pipe", is_named_by_run=True),
        lambda: find(os.path.abspath("pipe"), is_named_by_run=True),
    ):
        with pytest.raises(DataError, match="is a pipe"):
            look()


NAMES = [f"{folder}/{letter}.txt" for folder in ("a", "b", "b/deep") for letter in "pqrs"]
SHUFFLED_NAMES = sorted(NAMES, key=lambda name: hashlib.sha256(f"0/{name}".encode()).hexdigest())


@pytest.fixture
def texts(here):
    """The folder `texts`, in which each file contains its own name."""
    for path in (here / "texts" / name for name in NAMES):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{path.relative_to(here / 'texts').as_posix()}\n")
    return here / "texts"


def lines(source, **settings):
    return str(read_corpus([source], **settings).content).splitlines()


@pytest.mark.usefixtures("texts")
def test_files_are_shuffled_by_the_documented_rule():
    assert lines("texts") == SHUFFLED_NAMES != NAMES
    assert lines("texts", order="sorted") == sorted(NAMES)
    # Recorded runs depend on it: figures from another implementation of SHA-256, sha256sum.
    assert sorted("abc", key=partial(seeded_digest, seed=0)) == ["c", "b", "a"]
    assert lines("texts", order_seed=1) not in (SHUFFLED_NAMES, sorted(NAMES))
    assert sorted(lines("texts", order_seed=1)) == sorted(NAMES)
    one_by_one = [f"texts/{name}" for name in reversed(NAMES)]
    assert str(read_corpus(one_by_one).content).splitlines() == NAMES[::-1], "as they are named"
    # Python decodes the byte 0xff of a file name as U+DCFF, whose three bytes UTF-8 itself does not
    # allow.
    assert seeded_digest("a\udcff", seed=7) == hashlib.sha256(b"7/a\xed\xb3\xbf").digest()


@pytest.mark.parametrize("pattern", ["texts/**/*.txt", "./texts//**/*.txt", "{texts}/**/*.txt"])
def test_a_pattern_from_any_folder(pattern, texts, tmp_path, monkeypatch):
    source = pattern.format(texts=glob.escape(str(texts)))
    assert lines(source) == SHUFFLED_NAMES
    location = locations(read_corpus([source]))[0]
    assert location is not None
    monkeypatch.chdir(tmp_path)
    assert lines(location) == SHUFFLED_NAMES


@pytest.mark.usefixtures("texts")
def test_links_to_folders_and_out_of_a_folder_are_not_followed():
    Path("texts/linked").symlink_to("a", target_is_directory=True)
    Path("texts/linked.txt").symlink_to("a/p.txt")
    Path("private").write_text("A key that nobody else may see.\n")
    Path("texts/planted.txt").symlink_to("../private")
    Path("texts/absolute.txt").symlink_to(Path("private").absolute())
    outside = "skipped in texts: 2 outward links"
    assert outside in read_corpus(["texts"], is_for_training=False).notes
    paths = find("texts", order="sorted").paths
    assert [str(path.relative_to("texts")) for path in paths] == sorted([*NAMES, "linked.txt"])


@pytest.mark.parametrize(
    "pattern", ["**/*", "**", "*.txt", "a/**/*.txt", ".*/*", "[ab]/b/../*", "?*/*.t?t", "[[]c]/*"]
)
def test_a_pattern_means_what_glob_finds(pattern, here):
    for name in ("1.txt", "a/2.txt", "a/b/3.txt", "b/b/4.md", ".h/5.txt", "a/.6.txt", "[c]/7.txt"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("text")
    expected = {Path(path) for path in glob.glob(pattern, recursive=True) if os.path.isfile(path)}
    found = find(pattern, order="sorted")
    assert set(found.paths) == expected


def test_a_certificate_that_is_not_trusted_names_what_mends_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def refuse(*_, **options):
        raise URLError(ssl.SSLCertVerificationError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"))

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    with pytest.raises(DataError, match=r"CERTIFICATE_VERIFY_FAILED.*; SSL_CERT_FILE names a file"):
        fetch(load_catalogue()[0])

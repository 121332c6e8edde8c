"""The file of the counts of a run: what is written is read back, and whatever is wrong with it is
found before a compiled loop follows its numbers."""

import errno
import json
import mmap
import os
import signal
import struct
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
from built_runs import build_chain
from conftest import copy_run
from known_weights import CYCLE, chain_text

import charrnn
from charrnn.counts import contexts, counts_file
from charrnn.counts.counted_model import Counts
from charrnn.counts.counts_file import TYPES, _sha256, read_counts, write_counts
from charrnn.counts.kneser_ney import NgramModel
from charrnn.counts.mixing_powers import NUM_PAIRS, MixingPowers
from charrnn.errors import CharRNNError, CheckpointError, DataError
from charrnn.runs.checkpoint import COUNTS_FILE
from charrnn.system import files
from charrnn.system import process as system_process
from charrnn.training import recipe

V = len(CYCLE) + 1
"""The unknown symbol is one of the alphabet."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of known weights, whose text was counted."""
    folder = tmp_path_factory.mktemp("counted")
    corpus = folder / "chain.txt"
    corpus.write_bytes(chain_text(6_000).encode())
    run = build_chain(folder / "run", CYCLE, corpus=corpus, held_back=500)
    model = charrnn.load(run)
    ids = model.vocab.encode(chain_text(5_400)[500:])
    predictor = NgramModel.fit(ids, V, 7).predictor()
    powers = MixingPowers(np.linspace(0.1, 0.9, 2 * NUM_PAIRS).reshape(NUM_PAIRS, 2))
    write_counts(run, Counts(predictor, powers), digest=model.step_digest)
    return run


@pytest.fixture
def copied(run, tmp_path):
    """A copy of that run, to be changed."""
    return copy_run(run, tmp_path / "run")


def digest_of(run):
    return charrnn.load(run).step_digest


def read(run):
    return read_counts(run, digest_of(run), V)


def parts_of(run):
    """The bytes of the file, where its arrays begin, and its header."""
    data = (run / COUNTS_FILE).read_bytes()
    begin = 8 + struct.unpack("<Q", data[:8])[0]
    return data, begin, json.loads(data[8:begin])


def arrays_of(run):
    """The arrays of the file, to be changed, and its metadata."""
    data, _, header = parts_of(run)
    arrays = safetensors.numpy.load(data)
    return {name: array.copy() for name, array in arrays.items()}, header["__metadata__"]


def rewrite(run, arrays, metadata, **changes):
    """Write the file with a SHA-256 that is that of the arrays."""
    metadata = {**metadata, "sha256": _sha256(arrays), **changes}
    (run / COUNTS_FILE).write_bytes(safetensors.numpy.save(arrays, metadata))


def test_what_is_written_predicts_the_same_when_it_is_read(run):
    counts = read(run)
    ids = charrnn.load(run).vocab.encode(chain_text(5_400)[500:])
    predictor = NgramModel.fit(ids, V, 7).predictor()
    histories = np.random.default_rng(1).integers(-1, V, (400, 6))
    assert np.array_equal(counts.predictor.after(histories), predictor.after(histories))
    assert counts.predictor.after(histories).min() > 0
    assert counts.powers.values.ravel().tolist() == np.linspace(0.1, 0.9, 2 * NUM_PAIRS).tolist()


@pytest.mark.parametrize("change", ["cut off", "overwritten"])
def test_a_file_that_changes_after_it_was_read_changes_nothing(copied, change):
    """A file that is mapped would end the process by a signal of the system."""
    counts = read(copied)
    histories = np.random.default_rng(2).integers(-1, V, (50, 6))
    expected = counts.predictor.after(histories)
    if change == "cut off":
        os.truncate(copied / COUNTS_FILE, 0)
    else:
        with (copied / COUNTS_FILE).open("r+b") as file:
            file.write(b"\xff" * os.path.getsize(copied / COUNTS_FILE))
    assert np.array_equal(counts.predictor.after(histories), expected)


def test_a_file_is_read_where_the_file_system_maps_none(run, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENODEV, "No such device")

    monkeypatch.setattr(mmap, "mmap", fail)
    assert read(run).powers.values.shape == (NUM_PAIRS, 2)


def test_a_signal_is_obeyed_while_a_file_is_read(run, monkeypatch):
    digest = digest_of(run)
    num_blocks = 0

    class Hash:
        def update(self, block):
            nonlocal num_blocks
            num_blocks += 1
            if num_blocks == 3:
                signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(counts_file, "BLOCK_BYTES", 100)
    monkeypatch.setattr(counts_file.hashlib, "sha256", Hash)
    with pytest.raises(KeyboardInterrupt):
        read_counts(run, digest, V)
    assert num_blocks == 3


def test_a_file_of_20_gigabytes_is_refused_before_it_is_read(copied, monkeypatch):
    digest = digest_of(copied)
    os.truncate(copied / COUNTS_FILE, 20 * 10**9)
    monkeypatch.setattr(counts_file.hashlib, "sha256", None)
    with pytest.raises(CheckpointError, match="is damaged: 20,000,000,000 bytes, expected"):
        read_counts(copied, digest, V)


def test_arrays_of_20_gigabytes_are_refused_before_they_are_read(copied, monkeypatch):
    digest = digest_of(copied)
    data, begin, header = parts_of(copied)
    num_contexts = 10**8
    for name, width, size in (("children", V, 4), ("intervals", 2, 8), ("probabilities", V, 8)):
        num_bytes = num_contexts * width * size
        header[name] |= {"shape": [num_contexts, width], "data_offsets": [0, num_bytes]}
    (copied / COUNTS_FILE).write_bytes(with_header(header, data[begin:]))
    os.truncate(copied / COUNTS_FILE, 20 * 10**9)
    monkeypatch.setattr(counts_file.np, "empty", None)
    with pytest.raises(CheckpointError, match="is damaged: its numbers do not fit together"):
        read_counts(copied, digest, V)


def test_the_longest_text_that_training_counts_is_read():
    assert counts_file.MOST_CHARS == recipe.COUNTED_CHARS
    most = counts_file.MOST_CHARS
    shapes = {"ids": (most,), "children": (1, V), "discounts": (counts_file.ORDER, 4)}
    assert counts_file.needs_of_loops(shapes, V)["places"].shape == (most + 1,)
    with pytest.raises(ValueError):
        counts_file.needs_of_loops(shapes | {"ids": (most + 1,)}, V)


def test_the_page_of_formats_lists_each_array(run):
    arrays, metadata = arrays_of(run)
    assert set(arrays) == set(TYPES)
    assert set(metadata) == {"format", "model_digest", "sha256"}


def test_each_flipped_byte_of_an_array_is_noticed(copied):
    data, begin, header = parts_of(copied)
    for name in TYPES:
        first, last = header[name]["data_offsets"]
        flipped = bytearray(data)
        flipped[begin + (first + last) // 2] ^= 1
        (copied / COUNTS_FILE).write_bytes(bytes(flipped))
        with pytest.raises(CheckpointError, match="is damaged: its SHA-256 is another one"):
            read(copied)


def test_a_changed_byte_of_the_header_is_noticed(copied):
    digest = digest_of(copied)
    data, begin, _ = parts_of(copied)
    # With blanks at its end, which JSON allows to be tabs, and which safetensors needs at times.
    data = struct.pack("<Q", begin) + data[8:begin] + 8 * b" " + data[begin:]
    begin += 8
    (copied / COUNTS_FILE).write_bytes(data)
    assert read_counts(copied, digest, V)
    for at in (*range(0, begin, 7), begin - 1):
        for bit in (0x01, 0x20, ord(" ") ^ ord("\t")):
            flipped = bytearray(data)
            flipped[at] ^= bit
            (copied / COUNTS_FILE).write_bytes(bytes(flipped))
            with pytest.raises(CheckpointError):
                read_counts(copied, digest, V)


@pytest.mark.parametrize("share", [0, 0.00001, 0.001, 0.5, 0.9999])
def test_a_file_that_was_cut_off_is_damaged(copied, share):
    data = (copied / COUNTS_FILE).read_bytes()
    (copied / COUNTS_FILE).write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match=r"counts\.safetensors is damaged: "):
        read(copied)


def test_counts_of_another_text_alphabet_or_version_are_refused(run, tmp_path):
    with pytest.raises(CheckpointError, match="was made for another model or another step"):
        read_counts(run, "0" * 64, V)
    with pytest.raises(CheckpointError, match="its numbers do not fit together"):
        read_counts(run, digest_of(run), V + 1)
    run = copy_run(run, tmp_path / "run")
    rewrite(run, *arrays_of(run), format="2")
    with pytest.raises(CheckpointError, match="was made by another version of charrnn"):
        read(run)


PLACES = ("ids", "places", "followers", "depths")
CONTEXTS = ("children", "intervals", "probabilities")


def discounts_of_lengths(num_lengths):
    return np.tile([0.0, 0.5, 1.0, 1.5], (num_lengths, 1))


def put(name, place, value):
    """Return what puts a number into an array."""
    return lambda arrays: arrays[name].__setitem__(place, value)


FORGED = {
    "a place behind the text": put("places", 5, 1 << 30),
    "a place before the text": put("places", 5, -1),
    "an id of no character": put("ids", 5, V),
    "a follower of no character": put("followers", 5, V),
    "a child that is none": put("children", (0, 1), 1 << 20),
    "a child below -1": put("children", (0, 1), -2),
    "an interval behind the places": put("intervals", (0, 1), 1e15),
    "an interval before the places": put("intervals", (0, 0), -1),
    "a probability of 0": put("probabilities", (0, 1), 0),
    "a probability above 1": put("probabilities", (0, 1), 2),
    "a probability of nan": put("probabilities", (0, 1), np.nan),
    "a discount above its count": put("discounts", (1, 1), 1.5),
    "a discount below 0": put("discounts", (1, 1), -0.5),
    "a power of 11": put("powers", (1, 1), 11),
    **{
        f"{name} that are missing": lambda arrays, name=name: arrays.update(
            {name: arrays[name][:1].copy()}
        )
        for name in ("places", "followers", "depths", "children", "intervals", "probabilities")
    },
    "no discount": put("discounts", (1, 2), 0),
    "no characters": lambda arrays: arrays.update(ids=arrays["ids"][:0].copy()),
    "no contexts": lambda arrays: arrays.update(
        {name: arrays[name][:0].copy() for name in ("children", "intervals", "probabilities")}
    ),
    "no discounts": lambda arrays: arrays.update(discounts=arrays["discounts"][:0].copy()),
    "discounts of one length": lambda arrays: arrays.update(discounts=arrays["discounts"][:1]),
    "too many discounts": lambda arrays: arrays.update(discounts=discounts_of_lengths(17)),
    "a text shorter than its contexts": lambda arrays: arrays.update(
        {name: arrays[name][: 6 + (name != "ids")] % 6 for name in PLACES}
    ),
    "more contexts than a text has": lambda arrays: arrays.update(
        {name: arrays[name][[0] * 6_000] for name in CONTEXTS}
    ),
    "three pairs of powers": lambda arrays: arrays.update(powers=arrays["powers"][:3].copy()),
}


@pytest.mark.parametrize("name", FORGED)
def test_numbers_that_lead_nowhere_are_found_with_a_valid_hash(copied, name):
    arrays, metadata = arrays_of(copied)
    FORGED[name](arrays)
    rewrite(copied, arrays, metadata)
    with pytest.raises(CheckpointError, match="is damaged: its numbers do not fit together"):
        read(copied)


def test_a_tree_without_its_contexts_lets_no_loop_run_long(copied, monkeypatch):
    arrays, metadata = arrays_of(copied)
    rewrite(copied, arrays | {name: arrays[name][:1].copy() for name in CONTEXTS}, metadata)
    # Its only context has no child.
    arrays, metadata = arrays_of(copied)
    arrays["children"][:] = -1
    rewrite(copied, arrays, metadata)
    predictor = read(copied).predictor
    num_read = []
    add_followers = contexts._add_followers

    def add_and_note(places, low, high, *others):
        num_read.append(high - low)
        return add_followers(places, low, high, *others)

    monkeypatch.setattr(contexts, "_add_followers", add_and_note)
    history = predictor.contexts.ids[:6].astype(np.int64)
    contexts.predict_next(predictor, history, np.empty(V), contexts.make_scratch(predictor))
    assert len(num_read) == 6 and max(num_read) == contexts.FREQUENT * V


def with_header(header, arrays):
    """A file with a header, which may be any value, before its arrays."""
    encoded = json.dumps(header).encode()
    return struct.pack("<Q", len(encoded)) + encoded + arrays


def of_ids(**changes):
    """Return what changes the entry of the ids in a header."""
    return lambda header: header["ids"].update(changes)


HEADERS = {
    "no object": lambda header: [],
    "no metadata": lambda header: header.pop("__metadata__"),
    "metadata of no words": lambda header: header.update(__metadata__=7),
    "no array": lambda header: header.pop("ids"),
    "one array too many": lambda header: header.update(more=header["ids"]),
    "another type": of_ids(dtype="F64"),
    "an unknown type": of_ids(dtype="F8"),
    "an absurd shape": of_ids(shape=[1 << 62]),
    "an absurd shape and size": of_ids(shape=[1 << 50], data_offsets=[0, 1 << 51]),
    "a negative shape": lambda header: header["children"].update(shape=[-1, -8]),
    "offsets before the file": of_ids(data_offsets=[-9800, 0]),
    "offsets of words": of_ids(data_offsets=["a", "b"]),
    "offsets of fractions": lambda header: header["ids"].update(
        data_offsets=[float(offset) for offset in header["ids"]["data_offsets"]]
    ),
    "offsets far behind the file": lambda header: header["ids"].update(
        data_offsets=[10**30 + offset for offset in header["ids"]["data_offsets"]]
    ),
    "one offset": of_ids(data_offsets=[0]),
    "a shape of no numbers": of_ids(shape="many"),
    "infinite": of_ids(shape=[1e400]),
}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_lies_is_found(copied, name):
    data, begin, header = parts_of(copied)
    replaced = HEADERS[name](header)
    if name == "no object":
        header = replaced
    (copied / COUNTS_FILE).write_bytes(with_header(header, data[begin:]))
    with pytest.raises(CheckpointError, match=r"counts\.safetensors is damaged: "):
        read(copied)


def test_a_header_that_would_be_longer_than_the_file_is_none(copied):
    data = (copied / COUNTS_FILE).read_bytes()
    for num_bytes in (2**63, len(data), 100_001):
        (copied / COUNTS_FILE).write_bytes(struct.pack("<Q", num_bytes) + data[8:])
        with pytest.raises(CheckpointError, match="is damaged: it has no header"):
            read(copied)


def test_a_link_a_folder_and_a_placeholder_are_not_read(copied, tmp_path):
    path = copied / COUNTS_FILE
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"counts\.safetensors is not a regular file"):
        read(copied)
    path.unlink()
    path.mkdir()
    with pytest.raises(CheckpointError, match=r"counts\.safetensors is not a regular file"):
        read(copied)
    path.rmdir()
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    with pytest.raises(CheckpointError, match="is a Git LFS pointer"):
        read(copied)


def test_a_missing_file_is_one_error_and_a_model_without_a_folder_another(copied):
    (copied / COUNTS_FILE).unlink()
    with pytest.raises(CheckpointError, match=r"cannot read .*counts\.safetensors: No such file"):
        read(copied)
    with pytest.raises(DataError, match="run has no counts of its training text"):
        charrnn.load(copied).with_counts()


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_ends_early_leaves_the_file_as_it_was(copied, monkeypatch, fault):
    counts = read(copied)
    before = (copied / COUNTS_FILE).read_bytes()
    names = sorted(os.listdir(copied))

    def fail(path, data):
        path.write_bytes(data[:1000])
        raise fault

    monkeypatch.setattr(files, "write_synced", fail)
    with pytest.raises((CharRNNError, KeyboardInterrupt)):
        write_counts(copied, counts, digest="another")
    assert (copied / COUNTS_FILE).read_bytes() == before
    assert sorted(os.listdir(copied)) == names


@pytest.mark.parametrize("command_line", ["sample {run} --length 20 --seed 1", "evaluate {run}"])
@pytest.mark.parametrize("damage", ["cut off", "missing", "of another text"])
def test_a_command_goes_on_with_the_network_alone_and_says_so_once(
    command, run, tmp_path, command_line, damage
):
    alone = build_chain(tmp_path / "alone", CYCLE, corpus=run.parent / "chain.txt")
    expected = command(*command_line.format(run=alone).split())
    run = copy_run(run, tmp_path / "run")
    if damage == "missing":
        (run / COUNTS_FILE).unlink()
    elif damage == "cut off":
        (run / COUNTS_FILE).write_bytes((run / COUNTS_FILE).read_bytes()[:-1])
    else:
        rewrite(run, *arrays_of(run), model_digest="0" * 64)
    ran = command(*command_line.format(run=run).split())
    assert (ran.code, ran.out.replace("run", "alone")) == (0, expected.out.replace("run", "alone"))
    assert ran.err.count("warning: ") == ran.notes.count("\n") == 1
    counts_it = "counts it" if damage == "missing" else "counts the text again"
    assert f". charrnn train --resume {run} {counts_it}. The network " in ran.err
    assert " alone.\n" in ran.err


def out_of_memory(*_, **__):
    raise MemoryError


@pytest.mark.parametrize("command_line", ["sample {run} --length 20 --seed 1", "evaluate {run}"])
@pytest.mark.parametrize("lacking", ["address space", "memory"])
def test_without_memory_for_the_counts_the_network_goes_on_alone(
    command, run, monkeypatch, command_line, lacking
):
    if lacking == "address space":
        # Far more than anything else in the command needs, and less than the counts.
        monkeypatch.setattr(system_process, "address_space_left", lambda: 10**12)
        monkeypatch.setattr(
            counts_file, "check_room", lambda _, what: system_process.check_room(10**12, what)
        )
        reason = "and `ulimit -v` leaves 1,000,000 MB. Raise it."
    else:
        monkeypatch.setattr(counts_file, "_read", out_of_memory)
        reason = f"There is too little memory for {run / COUNTS_FILE}."
    ran = command(*command_line.format(run=run).split())
    assert ran.code == 0
    [warning] = [line for line in ran.err.splitlines() if line.startswith("warning: ")]
    assert reason in warning and warning.endswith(" alone.")
    assert "--resume" not in warning


def test_a_step_that_is_not_the_best_has_no_counts_and_no_remedy(run):
    model = replace(charrnn.load(run), step=0, step_digest="0" * 64)
    with pytest.raises(CheckpointError) as caught:
        model.with_counts()
    assert str(caught.value) == (
        "Step 0 of run has no counts: the text is counted for the best step of a run."
    )


def test_numba_takes_no_settings_from_the_current_folder(process, run, tmp_path):
    written = tmp_path / "trace.json"
    (tmp_path / ".numba_config.yaml").write_text(f"CHROME_TRACE: {written}\n")
    ran = process("-m", "charrnn", "sample", run, "--length", "20", "--seed", "1")
    assert b".numba_config.yaml" in ran.stderr and b"The network writes alone." in ran.stderr
    assert not written.exists()


def test_a_short_text_begins_without_importing_numba(process, run):
    code = (
        "import sys\n"
        "from charrnn.commands.app import run\n"
        "run(sys.argv[1:])\n"
        "print(sys.modules.get('numba'))"
    )
    ran = process("-c", code, "sample", run, "--length", "20", "--seed", "1", "--counts")
    assert ran.stderr == b"written by: network and counts\n"
    assert ran.stdout.endswith(b"None\n")


def test_sample_without_counts_needs_no_file(command, copied):
    expected = command("sample", copied, "--length", 20, "--seed", 1, "--no-counts")
    (copied / COUNTS_FILE).unlink()
    assert command("sample", copied, "--length", 20, "--seed", 1, "--no-counts") == expected
    assert expected.notes == ""

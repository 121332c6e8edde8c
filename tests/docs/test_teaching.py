"""Check the answers of the exercise sheet: the texts and the numbers that do not depend on the
machine, and what each exercise shows for its own training."""

import json
import random
import re
from math import log

import pytest
from environment import REPOSITORY

pytestmark = pytest.mark.docs

PAGE = (REPOSITORY / "docs" / "learn" / "teaching.md").read_text(encoding="utf-8")
EXERCISES = PAGE.split("## Exercises")[1]
ANSWERS = (REPOSITORY / "docs" / "learn" / "answers.md").read_text(encoding="utf-8")


def answer(number):
    return ANSWERS.split(f"**{number}.**")[1].split(f"**{number + 1}.**")[0]


def test_each_of_the_eleven_exercises_has_an_answer():
    for part in (
        re.findall(r"(?m)^\*\*(\d+)\.", EXERCISES),
        re.findall(r"\*\*(\d+)\.\*\*", ANSWERS),
    ):
        assert part == [str(number) for number in range(1, 12)]


def test_the_texts_of_three_temperatures(command):
    ran = command("sample prose --temp 0.2,0.8,1.5 --length 150 --seed 3")
    texts = re.split(r"--- temperature .* ---\n", ran.out)[1:]
    shown = re.findall(r"(?ms)^    [abc]\) (.*?)\n\n(?=    \S|\*)", EXERCISES)
    assert len(texts) == len(shown) == 3
    for text, letter in zip(texts, "cab", strict=True):
        assert re.sub(r"\n +", "\n", shown["abc".index(letter)]) in text


def test_the_number_of_quotation_marks_of_a_clamped_cell(command):
    marks = []
    for clamps in ((), ("--clamp", "0:97=-1"), ("--clamp", "0:97=1")):
        ran = command("sample prose --temp 0.5 --seed 9 --length 3000", *clamps)
        marks.append(ran.out.count('"'))
    assert [str(count) for count in marks] == re.findall(
        r"has (\d+)", answer(4).replace("it has", "has")
    )[:3]


def test_greedy_text_repeats_itself(command):
    text = command("sample prose --temp 0 --prime", "The ", "--length", 400).out
    assert " ".join(text.split()).count('"What a single man') >= 3


def test_the_loss_of_a_coin_is_a_bit(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(re.search(r"```python\n(.*?)```", EXERCISES, re.DOTALL)[1], {})
    command("train coin.txt --steps 60 --hidden-size 16 --out coin")
    ran = command("evaluate coin --json")
    assert 0.68 < json.loads(ran.out)["nats_per_char"] < 1.05 * log(2)


def test_a_text_that_is_learned_by_heart(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "".join(random.Random(0).choices("abcdefgh", k=2000))
    (tmp_path / "small.txt").write_text(text, encoding="utf-8")
    command("train small.txt --steps 200 --hidden-size 64 --out small")
    lines = (tmp_path / "small" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    steps = [record for record in records if record["event"] == "step"]
    losses = [record["val_nats"] for record in records if record["event"] == "evaluation"]
    assert steps[-1]["train_nats"] < log(8) - 0.2
    assert losses[-1] > max(log(8), min(losses)) + 0.05
    assert all("grad_norm" in step for step in steps)

"""What is read on the page: sentences, confidence, tables, and nothing of a visitor's as HTML."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest

from app_parts.answers import Shown
from app_parts.cards import photo_card, problem_lines
from app_parts.table import answers_table, csv_bytes
from app_parts.words import heads
from base.task import Task, load_task
from base.task_settings import TaskSettings
from TRACER.crops import Extraction
from trainer.photo_model import PhotoAnswer

FACES = load_task("faces")


def sentence(cls, language):
    return FACES.sentence(FACES.decode(cls), language)


def answer(cls=10, confidence=0.9, fallback=False):
    probabilities = np.full(18, (1 - confidence) / 17, np.float32)
    probabilities[cls] = confidence
    crop = np.zeros((8, 8, 3), np.uint8)
    extraction = Extraction(crop, (0, 0, 8, 8), fallback, crop[..., 0])
    return PhotoAnswer(FACES, answers_to(probabilities), extraction)


def answers_to(probabilities):
    marginals = FACES.marginals(probabilities[None])
    return {"class": probabilities} | {name: values[0] for name, values in marginals.items()}


def shown(**options):
    heat = {head: b"heat" for head in ("mask", "gender", "age")}
    return Shown(answer(**options), b"photo", b"crop", b"small", 1.0, (0, 0, 1, 1), heat)


def test_an_answer_is_a_sentence_in_each_language():
    assert sentence(10, "en") == "Woman aged 30 to 59, mask worn incorrectly"
    assert sentence(10, "ko") == "30~59세 여성, 마스크 잘못 착용"


@pytest.mark.parametrize("language", ["en", "ko"])
def test_every_class_has_a_sentence_of_its_own(language):
    assert len({sentence(cls, language) for cls in range(18)}) == 18


def test_a_file_name_is_never_html():
    card = photo_card("<img src=x onerror=alert(1)>.jpg", shown(), "en")
    assert "<img src=x" not in card
    assert "&lt;img src=x" in card
    assert "<script" not in problem_lines([("<script>", "broken")], "en")


def test_a_photo_without_a_person_says_so():
    assert "No person was found" in photo_card("a.jpg", shown(fallback=True), "en")
    assert "No person was found" not in photo_card("a.jpg", shown(), "en")


@pytest.mark.parametrize(
    ("language", "words", "sure"),
    [
        ("en", "No person found, answer not to be trusted", "Very sure"),
        ("ko", "사람을 찾지 못했습니다. 이 답은 믿을 수 없습니다", "매우 확실함"),
    ],
)
def test_where_no_person_was_found_the_answer_is_not_to_be_trusted(language, words, sure):
    strange = replace(answer(confidence=0.97), trusted=False)
    card = photo_card("wall.jpg", replace(shown(), answer=strange), language)
    assert words in card and sure not in card and "mt-sure-3" in card
    assert words not in photo_card("a.jpg", shown(confidence=0.97), language)
    table = answers_table([("wall.jpg", strange), ("a.jpg", answer())], language)
    assert words in table["note"][0] and table["note"][1] == ""
    assert words in csv_bytes(table, language).decode("utf-8-sig")


def test_the_csv_has_the_columns_of_a_submission_and_then_words_and_probabilities():
    table = answers_table([("a.jpg", answer(10)), ("b,c.jpg", answer(0))], "en")
    rows = list(csv.DictReader(io.StringIO(csv_bytes(table, "en").decode())))
    assert [row["ImageID"] for row in rows] == ["a.jpg", "b,c.jpg"]
    assert [row["ans"] for row in rows] == ["10", "0"]
    assert list(rows[0])[:2] == ["ImageID", "ans"]
    assert rows[0]["answer"] == sentence(10, "en")
    assert (rows[1]["mask"], rows[1]["gender"], rows[1]["age"]) == ("mask worn", "male", "<30")
    assert sum(float(rows[0][f"p{cls}"]) for cls in range(18)) == pytest.approx(1, abs=1e-5)


def test_names_are_typeset_on_the_page_as_in_a_report_and_plain_in_the_csv():
    """Excel would take the CSV for Latin-1, in which ≥ is three other signs."""
    card = photo_card("a.jpg", shown(cls=17), "en")
    for name in ("&lt;30", "30–59", "≥60"):
        assert f"<span>{name}</span>" in card
    assert 'alt="Age: ≥60"' in card
    assert "&gt;=60" not in card and "30-59" not in card
    assert csv_bytes(answers_table([("a.jpg", answer(17))], "en"), "en").isascii()
    assert "60세 이상" in photo_card("a.jpg", shown(cls=17), "ko")


def test_no_name_of_a_photo_is_run_by_a_spreadsheet():
    table = answers_table([("=cmd|'/c calc'!A1.jpg", answer(10))], "en")
    assert csv_bytes(table, "en").decode().splitlines()[1].startswith("'=cmd")


def test_the_korean_csv_opens_in_excel():
    table = answers_table([("a.jpg", answer(10))], "ko")
    assert csv_bytes(table, "ko").startswith(b"\xef\xbb\xbf")
    assert "30~59세 여성" in csv_bytes(table, "ko").decode("utf-8-sig")


def test_sentence_marks_and_columns_tell_of_the_same_answer():
    """The likeliest class is a male's here, and yet a female the likelier gender."""
    male, female = 0, 3  # mask worn, under 30
    split = answer(male, confidence=0.4)
    probabilities = split.probabilities["class"]
    probabilities[[female, female + 1, female + 2]] = 0.19
    split = replace(split, probabilities=answers_to(probabilities))
    assert split.probabilities["gender"].argmax() == 1
    assert [split.predicted[head] for head in ("mask", "gender", "age")] == [0, 0, 0]
    (row,) = answers_table([("a.jpg", split)], "en").to_dict("records")
    assert (row["answer"], row["gender"]) == (sentence(male, "en"), "male")
    card = photo_card("a.jpg", replace(shown(), answer=split), "en")
    assert "<li class=mt-best><span>male</span>" in card
    assert 'alt="Gender: male"' in card


def answer_of(heads, probabilities, **answer_settings):
    task = Task(TaskSettings.model_validate({"heads": heads, "answer": answer_settings}))
    crop = np.zeros((8, 8, 3), np.uint8)
    said = {name: np.array(values, np.float32) for name, values in probabilities.items()}
    return PhotoAnswer(task, said, Extraction(crop, (0, 0, 8, 8), False, crop[..., 0]))


SHAPES = {"shape": {"classes": ["round", "long"]}, "half_tone": {"classes": ["a", "b"]}}


def test_a_task_without_a_sentence_is_answered_head_by_head():
    said = answer_of(SHAPES, {"shape": [0.2, 0.8], "half_tone": [0.5, 0.5]})
    assert said.sentence("ko") == "Shape: long, Half tone: a"
    assert said.confidence == pytest.approx(0.4)
    (row,) = answers_table([("a.jpg", said)], "en").to_dict("records")
    assert list(row) == [
        "image", "answer", "shape", "half_tone", "confidence", "note",
        "shape_p0", "shape_p1", "half_tone_p0", "half_tone_p1",
    ]  # fmt: skip
    assert heads(said.task, "en") == "Shape, half tone"


def test_of_a_thousand_classes_the_likeliest_are_shown():
    classes = [f"kind <{number}>" for number in range(1000)]
    shares = np.full(1000, 0.0001)
    shares[7] = 0.9
    said = answer_of({"kind": {"classes": classes}}, {"kind": shares})
    card = photo_card("a.jpg", replace(shown(), answer=said, heat={}), "en")
    assert card.count("<li") == 8 and "<li class=mt-best><span>kind &lt;7&gt;</span>" in card
    assert said.sentence("en") == "kind <7>" and "kind <7>" not in card


def test_every_tag_above_the_threshold_is_marked():
    tags = {"tags": {"type": "multilabel", "classes": ["sky", "sea", "sand"]}}
    said = answer_of(tags, {"tags": [0.9, 0.2, 0.6]})
    card = photo_card("a.jpg", replace(shown(), answer=said, heat={"tags": b"heat"}), "en")
    assert card.count("mt-best") == 2 and said.sentence("en") == "sky, sand"
    assert said.confidence == pytest.approx(0.6)
    assert 'alt="Tags: sky, sand"' in card


def test_a_number_is_answered_without_a_share():
    said = answer_of({"years": {"type": "number", "bins": "0:4:1"}}, {"years": [0, 0.5, 0.5, 0]})
    card = photo_card("a.jpg", replace(shown(), answer=said, heat={}), "en")
    assert '<h2 class="mt-answer">2</h2>' in card and "mt-sure" not in card
    assert "confidence" not in answers_table([("a.jpg", said)], "en")
    assert "No subject found" in photo_card(
        "a.jpg", replace(shown(), answer=replace(said, trusted=False), heat={}), "en"
    )

import csv
import json
import shlex
from dataclasses import replace

import cv2
import numpy as np
import pytest

from base.task import load_task
from base.task_settings import TaskSettings
from data_loader.corrections import apply_corrections, read_corrections
from data_loader.dataset import read_index
from logger.predictions import SavedPredictions, write_predictions
from tests.other_tasks import TASKS
from tools.audit import suspects
from tools.audit.proposals import COLUMNS, audit, propose, write_table
from tools.audit.suspects import expected_distance, find_suspects
from tools.audit.suspects import read_answers as read_answers_of
from utils.errors import DataError

FACES = load_task("faces")
HEADS = {name: head.num_classes for name, head in FACES.heads.items()}

STEMS = ("mask1", "mask2", "mask3", "mask4", "mask5", "incorrect_mask", "normal")
PEOPLE = 60


def read_answers(path):
    return read_answers_of(path, FACES)


def suspects_of(answers, head):
    return find_suspects(answers, FACES.heads[head])


def folder_of(person):
    gender, age = ("male", "female")[person % 2], 18 + person % 50
    return f"{person:06}_{gender}_Asian_{age}"


@pytest.fixture
def saved(tmp_path):
    """A finished training of folds whose models are right about nearly everything, and photos."""
    draw = np.random.default_rng(0)
    for person in range(PEOPLE):
        folder = tmp_path / "data/train/images" / folder_of(person)
        folder.mkdir(parents=True)
        for stem in STEMS:
            cv2.imwrite(str(folder / f"{stem}.png"), np.full((8, 8, 3), person, np.uint8))
    index = read_index(tmp_path / "data", FACES.settings)
    columns = index.describe(np.arange(len(index))) | {"value_age": index.values["age"]}
    for head, codes in index.targets(np.arange(len(index))).items():
        if head in HEADS:
            said = draw.dirichlet(np.full(HEADS[head], 0.5), len(index)) * 0.3
            columns[f"probabilities_{head}"] = said + 0.7 * np.eye(HEADS[head])[codes]
            columns[f"target_{head}"] = codes
    models, log = tmp_path / "saved/models/tiny/cv", tmp_path / "saved/log/tiny/cv"
    models.mkdir(parents=True)
    log.mkdir(parents=True)
    (models / "config.json").write_text(f'{{"name": "tiny", "data_dir": "{tmp_path / "data"}"}}')

    def write(**changes):
        now = columns | changes
        said = {head: now[f"probabilities_{head}"] for head in HEADS}
        values = {"mask": now["target_mask"], "gender": now["target_gender"],
                  "age": now["value_age"]}  # fmt: skip
        photos = {name: now[name] for name in index.describe(np.arange(0))}
        write_predictions(
            log / "predictions.npz", SavedPredictions(index.task, said, values, photos)
        )
        return log / "predictions.npz"

    write()
    return models, columns, write


def with_errors(columns, head, wrong):
    """The labels of a head, with other ones for the rows ``wrong``."""
    labels = columns[f"target_{head}"].copy()
    labels[wrong] = (labels[wrong] + HEADS[head] // 2) % HEADS[head]
    return labeled(head, labels)


def labeled(head, codes):
    """The columns of a head with these labels; of an age its bin's last year."""
    last_years = {"value_age": np.array([19, 29, 39, 49, 59, 60])[codes]} if head == "age" else {}
    return {f"target_{head}": codes, **last_years}


def test_wrong_masks_are_found_photo_by_photo(saved):
    _, columns, write = saved
    wrong = [3, 77, 200, 201, 333]
    suspects = suspects_of(read_answers(write(**with_errors(columns, "mask", wrong))), "mask")
    assert sorted(int(rows[0]) for rows in suspects.rows[:5]) == wrong
    assert 1 <= suspects.flagged <= 5


@pytest.mark.parametrize("head", ["gender", "age"])
def test_wrong_genders_and_ages_are_found_by_person(saved, head):
    _, columns, write = saved
    wrong = {f"{person:06}" for person in (4, 11, 30)}
    rows = np.isin(columns["group"], list(wrong))
    answers = read_answers(write(**with_errors(columns, head, rows)))

    suspects = suspects_of(answers, head)

    assert len(suspects.labels) == PEOPLE
    assert {str(answers.photos["group"][rows[0]]) for rows in suspects.rows[:3]} == wrong
    assert all(len(rows) == 7 for rows in suspects.rows)


def test_an_age_is_the_more_suspect_the_further_off_the_answers_are():
    said = np.array([[0.5, 0.3, 0.2, 0.0], [0.0, 0.0, 0.0, 1.0]])
    assert expected_distance(said, np.array([1, 0])).tolist() == [0.5 + 0.2, 3.0]


def test_a_neighboring_age_is_no_error_and_less_suspect_than_one_further_off(saved):
    _, columns, write = saved
    labels = columns["target_age"].copy()
    for person in (4, 11, 30):
        rows = columns["group"] == f"{person:06}"
        labels[rows] = np.where(labels[rows] < 5, labels[rows] + 1, 4)
    assert suspects_of(read_answers(write(**labeled("age", labels))), "age").flagged == 0
    rows = columns["group"] == "000020"
    labels[rows] = (labels[rows] + 3) % 6
    suspects = suspects_of(read_answers(write(**labeled("age", labels))), "age")
    found = [columns["group"][rows[0]] for rows in suspects.rows[:4]]
    assert found[0] == "000020" and sorted(found[1:]) == ["000004", "000011", "000030"]


def test_proposals_count_only_once_somebody_has_said_yes(saved, tmp_path):
    models, columns, write = saved
    write(**with_errors(columns, "gender", columns["group"] == "000004"))
    table = models.parents[2] / "log/tiny/cv/audit.csv"

    audit(models, None, None, None)

    assert read_corrections(table, FACES) == []
    with open(table, newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    first = next(row for row in rows if row["field"] == "gender")
    assert (first["key"], first["value"], first["rank"]) == ("000004", "male", "1")
    assert "labeled female, looks male" in first["note"]
    assert cv2.imread(str(table.with_suffix(".gender.png"))) is not None
    table.write_text(table.read_text().replace(",000004,gender", "yes,000004,gender"))
    index = read_index(tmp_path / "data", FACES.settings)
    index.values["gender"][np.char.startswith(index.files, "000004")] = 1
    corrected, report = apply_corrections(index, table)
    assert report.applied == 1
    assert set(corrected.values["gender"][np.char.startswith(corrected.files, "000004")]) == {0}


def test_an_age_is_proposed_as_the_nearest_year_of_the_bin(saved):
    _, _, write = saved
    suspects = suspects_of(read_answers(write()), "age")
    for line in propose(read_answers(write()), suspects, PEOPLE):
        suggested = suspects.suggested[int(line["rank"]) - 1]
        assert FACES.heads["age"].class_of(np.array([float(line["value"])])) == suggested


def test_a_person_with_two_folders_is_corrected_photo_by_photo(saved):
    _, columns, write = saved
    person = columns["group"].copy()
    person[person == "000005"] = "000004"
    answers = read_answers(write(group=person, **with_errors(columns, "gender", person == "x")))
    lines = propose(answers, suspects_of(answers, "gender"), PEOPLE)
    keys = [line["key"] for line in lines if "00000" in line["photo"]]
    assert f"{folder_of(4)}/mask1.png" in keys and "000004" not in keys
    assert "000006" in keys


def test_classes_that_nobody_has_do_no_harm(saved):
    _, columns, write = saved
    labels = np.minimum(columns["target_age"], 3)
    assert suspects_of(read_answers(write(**labeled("age", labels))), "age").labels.max() == 3
    alone = suspects_of(read_answers(write(target_gender=labels * 0)), "gender")
    assert alone.flagged == 0


def test_answers_with_nan_are_refused(saved):
    _, columns, write = saved
    broken = columns["probabilities_age"].copy()
    broken[3] = np.nan
    with pytest.raises(DataError, match=r"predictions\.npz: probabilities_age .*NaN"):
        read_answers(write(probabilities_age=broken))


def test_what_is_no_run_is_refused(saved, tmp_path):
    models, _, _ = saved
    with pytest.raises(DataError, match="not a run"):
        audit(tmp_path / "data", None, None, None)
    with pytest.raises(DataError, match=r"no predictions\.npz"):
        audit(models.parent / "other", None, None, None)


class TestOtherTasks:
    """Answers that are right but for the rows 4, 11 and 30, which are labeled wrongly."""

    WRONG = [4, 11, 30]

    def answers(self, task, shapes, wrong, sure=0.8):
        index = read_index(shapes, TaskSettings.model_validate(TASKS[task]))
        (head,) = list(index.task.heads.values())[:1]
        right = index.values[head.name]
        labels = right.copy()
        labels[self.WRONG] = wrong(right[self.WRONG], head)
        if right.ndim == 2:
            said = 0.5 + (sure - 0.5) * (2 * right - 1)
        else:
            truth = np.eye(head.num_classes)[head.class_of(right)]
            said = sure * truth + (1 - sure) / head.num_classes
        photos, groups = index.files, index.groups[index.group]
        columns, labels = {"photo": photos, "group": groups}, {head.name: labels}
        return SavedPredictions(index.task, {head.name: said}, labels, columns), head, index

    def proposed(self, answers, head, index, tmp_path):
        suspects = find_suspects(answers, head)
        assert sorted(int(rows[0]) for rows in suspects.rows[:3]) == self.WRONG
        assert suspects.flagged == 3
        lines = propose(answers, suspects, 3)
        write_table(tmp_path / "audit.csv", [line | {"apply": "yes"} for line in lines])
        labeled = replace(index, values={**index.values, **answers.values})
        corrected, report = apply_corrections(labeled, tmp_path / "audit.csv")
        assert report.applied == 3 and not report.unknown
        return lines, corrected.values[head.name], index.values[head.name]

    def test_classes_of_a_table(self, shapes, tmp_path):
        answers, head, index = self.answers("table", shapes, lambda codes, _: (codes + 1) % 3)
        _, corrected, right = self.proposed(answers, head, index, tmp_path)
        assert (corrected == right).all()

    def test_tags_also_where_none_is_right(self, shapes, tmp_path):
        def other(tags, _):
            tags = tags.copy()
            tags[:, 0] = 1 - tags[:, 0]
            return tags

        answers, head, index = self.answers("tags", shapes, other)
        _, corrected, right = self.proposed(answers, head, index, tmp_path)
        assert (corrected == right).all()
        assert (right[self.WRONG].sum(axis=1) == 0).any()

    def test_numbers_far_from_what_is_expected(self, shapes, tmp_path):
        def other(sizes, _):
            return np.where(sizes < 14, 20.0, 7.0)

        answers, head, index = self.answers("number", shapes, other, sure=0.99)
        lines, corrected, right = self.proposed(answers, head, index, tmp_path)
        assert abs(corrected - right).max() < 1
        assert "%" not in lines[0]["note"]

    def test_photos_without_a_label_are_passed_over(self, shapes):
        answers, head, _ = self.answers("table", shapes, lambda codes, _: codes * 0 - 1)
        assert len(find_suspects(answers, head).rows) == 87


def test_the_next_step_keeps_the_tables_that_the_run_applied(saved, capsys):
    models, _, write = saved
    write()
    config = json.loads((models / "config.json").read_text())
    config["label_corrections"] = {"path": "competition"}
    (models / "config.json").write_text(json.dumps(config))
    audit(models, None, None, None)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "--set" in line]
    option, value = shlex.split(line)[1].split("=", 1)
    assert option == "label_corrections.path"
    assert json.loads(value)[0] == "competition" and json.loads(value)[1].endswith("audit.csv")


@pytest.mark.filterwarnings("error")
def test_a_class_of_few_photos_is_no_warning_of_a_library():
    draw = np.random.default_rng(0)
    codes = np.array([0] * 40 + [1] * 2)
    shares = draw.dirichlet([0.2, 0.2], len(codes))
    assert suspects._issues(codes, shares).dtype == bool

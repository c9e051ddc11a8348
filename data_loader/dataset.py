"""Finding the photos of a data set and reading what their folder and file names say.

The competition's layout: a person's photos lie in one folder, whose name says who it is, and the
name of a photo says how the mask is worn.

    train/images/<id>_<gender>_<race>_<age>/{mask1..mask5,incorrect_mask,normal}.{jpg,jpeg,png,…}
    eval/images/*, eval/info.csv with the columns ImageID,ans
"""

import csv
import logging
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from unicodedata import normalize

import numpy as np

from base.task import Task
from data_loader.labels import (
    FACES,
    GENDERS,
    MASK_OF_PHOTO,
    NUM_CLASSES,
    OLDEST,
)
from utils.errors import DataError, nearest
from utils.images import KINDS, describe_others, find_images, is_hidden, is_image

logger = logging.getLogger("data")


@dataclass(frozen=True, eq=False)
class Photos:
    """Where N photos lie.

    Attributes:
        root: the folder they lie under.
        files: (N,) str, their paths below ``root`` with ``/``; in an eval set, their ImageIDs.
    """

    root: Path
    files: np.ndarray

    def __len__(self) -> int:
        return len(self.files)

    def path(self, row: int) -> Path:
        """The file of one photo."""
        return self.root / str(self.files[row])

    def paths(self) -> list[Path]:
        """The files of all photos, in the order of the rows."""
        return [self.path(row) for row in range(len(self))]


@dataclass(frozen=True, eq=False)
class ListedPhotos(Photos):
    """Photos that go by the names of a table.

    Attributes:
        on_disk: ImageID → path below ``root``, where that is the same name in another Unicode form.
    """

    on_disk: dict[str, str]

    def path(self, row: int) -> Path:
        """The file of one photo."""
        name = str(self.files[row])
        return self.root / self.on_disk.get(name, name)


@dataclass(frozen=True, eq=False)
class PhotoIndex(Photos):
    """N photos and their labels, one array a column: nothing that grows when workers touch it.

    Attributes:
        folder: (N,) int32, the row of ``folders`` that the photo lies in.
        folders: (F,) str, names of the people's folders.
        person: (N,) int32, the row of ``person_ids`` that the photo shows.
        person_ids: (P,) str, such as ``"001498-1"``. One person may have two folders.
        mask: (N,) int64, codes of ``labels.MASKS``.
        gender: (N,) int64, codes of ``labels.GENDERS``.
        age: (N,) int64, years.
    """

    folder: np.ndarray
    folders: np.ndarray
    person: np.ndarray
    person_ids: np.ndarray
    mask: np.ndarray
    gender: np.ndarray
    age: np.ndarray

    def targets(self, rows: np.ndarray, task: Task = FACES) -> dict[str, np.ndarray]:
        """What a model should answer for these rows: (len(rows),) int64 codes for each head, and
        under ``"class"`` for the 18 classes; see ``Task.targets``."""
        values = {"mask": self.mask[rows], "gender": self.gender[rows], "age": self.age[rows]}
        return task.targets(values)

    def describe(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Which photos these rows are: ``photo``, the file below ``root``; ``folder``; ``person``,
        the id; ``years``; each (len(rows),)."""
        return {
            "photo": self.files[rows],
            "folder": self.folders[self.folder[rows]],
            "person": self.person_ids[self.person[rows]],
            "years": self.age[rows],
        }

    def published(self, row: int) -> tuple[int, int]:
        """Gender code and years in the name of the photo's folder, whatever was corrected since."""
        _, gender, age = _read_folder_name(str(self.folders[self.folder[row]]))
        return gender, age

    def subset(self, rows: np.ndarray) -> "PhotoIndex":
        """The index of these rows alone; people and folders keep their numbers."""
        return PhotoIndex(
            root=self.root,
            files=self.files[rows],
            folder=self.folder[rows],
            folders=self.folders,
            person=self.person[rows],
            person_ids=self.person_ids,
            mask=self.mask[rows],
            gender=self.gender[rows],
            age=self.age[rows],
        )

    def conflicting_ids(self) -> list[str]:
        """The people whose folders have several genders or ages, such as "007 (male 20, male 21)".

        The competition has one. Counts go by folder, and splits by id.
        """
        _, rows = np.unique(self.folder, return_index=True)
        said: dict[str, dict[str, None]] = defaultdict(dict)
        for person, gender, age in zip(
            self.person[rows], self.gender[rows], self.age[rows], strict=True
        ):
            said[str(self.person_ids[person])][f"{GENDERS[gender]} {age}"] = None
        return [f"{id_} ({', '.join(each)})" for id_, each in said.items() if len(each) > 1]

    def incomplete_folders(self) -> np.ndarray:
        """The names of the folders that hold fewer than the seven photos, (K,) str."""
        photos = np.bincount(self.folder, minlength=len(self.folders))
        return self.folders[photos < len(MASK_OF_PHOTO)]


def train_folder(data_dir: str | Path) -> Path:
    """``<data_dir>/train/images``.

    Raises:
        DataError: it is missing.
    """
    root = Path(data_dir) / "train" / "images"
    _existing_folder(root, "set data_dir to what holds train/images, or run `make demo`")
    return root


def scan_train(data_dir: str | Path) -> PhotoIndex:
    """Read the labels of all photos under ``<data_dir>/train/images`` from their names.

    Hidden files and folders are passed over; the order is that of the sorted names.

    Raises:
        DataError: the folder is missing or empty, or something in it does not fit the layout.
    """
    root = train_folder(data_dir)
    folders = _visible_names(root)
    _refuse_undecodable(root, folders)
    labels = _read_folder_names(root, folders)
    photos = [
        (number, name)
        for number, folder in enumerate(folders)
        for name in _visible_names(root / folder)
    ]
    files = [f"{folders[number]}/{name}" for number, name in photos]
    _refuse_undecodable(root, files)
    stems = _read_file_names(root, files)
    if not files:
        raise DataError(f"{root}: no images; put the people's folders here, or run `make demo`")
    folder = np.array([number for number, _ in photos], dtype=np.int32)
    ids, genders, ages = zip(*labels, strict=True)
    person_ids, person = np.unique(ids, return_inverse=True)
    return PhotoIndex(
        root=root,
        files=np.array(files),
        folder=folder,
        folders=np.array(folders),
        person=person.astype(np.int32)[folder],
        person_ids=person_ids,
        mask=np.array([MASK_OF_PHOTO[stem] for stem in stems], dtype=np.int64),
        gender=np.array(genders, dtype=np.int64)[folder],
        age=np.array(ages, dtype=np.int64)[folder],
    )


def class_counts(index: PhotoIndex, rows: np.ndarray, task: Task = FACES) -> dict[str, np.ndarray]:
    """How often each class of each head occurs in these rows.

    Mask and the 18 classes are counted in photos. Gender and age are counted in people (folders),
    so that nobody counts more for having more photos left.

    Returns:
        Head name, or ``"class"``, → (classes,) int64.
    """
    targets = index.targets(rows, task)
    _, one_photo_each = np.unique(index.folder[rows], return_index=True)
    for name, head in task.heads.items():
        if head.settings.per == "folder":
            targets[name] = targets[name][one_photo_each]
    sizes = {name: head.num_classes for name, head in task.heads.items()}
    sizes["class"] = task.num_classes
    return {name: np.bincount(codes, minlength=sizes[name]) for name, codes in targets.items()}


def scan_eval(info_dir: str | Path) -> ListedPhotos:
    """The photos that ``<info_dir>/info.csv`` lists, in its order; they lie in ``images`` there.

    Raises:
        DataError: as for ``listed_photos``, or a photo that does not exist.
    """
    photos = listed_photos(info_dir)
    missing = [
        str(name) for row, name in enumerate(photos.files) if not os.path.isfile(photos.path(row))
    ]
    do = "add or unlist them, or leave them out with --skip-unreadable"
    _refuse(missing, f"{Path(info_dir) / 'info.csv'}: listed, but not in {photos.root}", do)
    return photos


def listed_photos(info_dir: str | Path) -> ListedPhotos:
    """Like ``scan_eval``, but whether the photos exist is left to those who read them.

    Raises:
        DataError: the table is missing, empty, without ImageID, or lists a photo twice.
    """
    table = Path(info_dir) / "info.csv"
    if not table.is_file():
        raise DataError(
            f"{table}: no such file; set info_dir to the folder that holds info.csv and images,"
            " or predict a plain folder of photos with --images"
        )
    ids = _read_image_ids(table, read_table(table, ("ImageID",)))
    images = _existing_folder(Path(info_dir) / "images", "put the photos of info.csv there")
    on_disk = {}
    if missing := [name for name in ids if not os.path.isfile(images / name)]:
        files = (path.relative_to(images).as_posix() for path in images.rglob("*"))
        on_disk = _alike(missing, set(files) - set(ids), table)
    return ListedPhotos(images, np.array(ids), on_disk)


def scan_folder(folder: str | Path) -> Photos:
    """All photos in a folder and its sub-folders, in the order of their sorted paths.

    A warning counts and names the other files.

    Raises:
        DataError: the folder is missing or holds no photo.
    """
    root = _existing_folder(Path(folder), "name a folder of photos")
    images, others = find_images(root)
    if others:
        logger.warning("warning: %s", describe_others(others, root))
    found = [path.relative_to(root).as_posix() for path in images]
    return Photos(root, np.array(sorted(found)))


def read_answers(path: str | Path, ids: np.ndarray) -> np.ndarray:
    """The true classes of the photos ``ids`` from a table with the columns ImageID,ans.

    Returns:
        (len(ids),) int64 classes 0..17, in the order of ``ids``.

    Raises:
        DataError: the table is missing or malformed, or lists other photos than ``ids``.
    """
    rows = read_table(path, ("ImageID", "ans"))
    answers = {}
    for name, (number, row) in zip(_read_image_ids(path, rows), rows, strict=True):
        answers[name] = _read_class(row["ans"], f"{path}: line {number}")
    known = set(ids.tolist())
    alike = _alike(known - answers.keys(), answers.keys() - known, path)
    answers |= {name: answers.pop(other) for name, other in alike.items()}
    do = "use the answers of these very photos"
    _refuse([name for name in known if name not in answers], f"{path}: no answer for", do)
    _refuse([n for n in answers if n not in known], f"{path}: answers for photos not predicted", do)
    return np.array([answers[name] for name in ids.tolist()], dtype=np.int64)


def read_table(path: str | Path, columns: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Read a CSV file; every value stays the text it is, also ``001`` and ``NA``.

    Returns:
        For each row its line number in the file (for messages) and its values by column.

    Raises:
        DataError: the file cannot be read or lacks one of ``columns``.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            rows = [(reader.line_num, row) for row in reader]
            found = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{path}: cannot be read as a UTF-8 CSV table ({reason})") from error
    for column in columns:
        if column not in found:
            hint = nearest(column, found) if found else "; the file is empty"
            raise DataError(f"{path}: no column {column!r} in the first line{hint}")
    return rows


def _read_folder_names(root: Path, folders: list[str]) -> list[tuple[str, int, int]]:
    """Person id, gender code and age in years of each folder."""
    odd = [name for name in folders if not _FOLDER.fullmatch(name)]
    _refuse(odd, f"{root}: not a folder named {_FOLDER_NAME}", "rename or move away")
    odd = [name for name in folders if _FOLDER.fullmatch(name)[2].lower() not in GENDERS]
    _refuse(odd, f"{root}: unknown gender", f"use {' or '.join(GENDERS)}")
    labels = [_read_folder_name(name) for name in folders]
    odd = [name for name, (_, _, age) in zip(folders, labels, strict=True) if age > OLDEST]
    _refuse(odd, f"{root}: age over {OLDEST}", "correct the folder name")
    return labels


_FOLDER = re.compile(r"([^_]+)_([^_]+)_[^_]+_([0-9]+)")
_FOLDER_NAME = "<id>_<gender>_<race>_<age>"


def _read_folder_name(name: str) -> tuple[str, int, int]:
    """The same of one folder whose name fits the layout."""
    person_id, gender, age = _FOLDER.fullmatch(name).groups()
    # A name in two Unicode forms is one person, who must not be on both sides of a split.
    return normalize("NFC", person_id), GENDERS.index(gender.lower()), int(age)


def _read_file_names(root: Path, files: list[str]) -> list[str]:
    """The stem of each photo, a key of ``MASK_OF_PHOTO``."""
    stems = [Path(file).stem.lower() for file in files]
    named = list(zip(files, stems, strict=True))
    odd = [file for file, stem in named if stem not in MASK_OF_PHOTO or not is_image(file)]
    wanted = f"mask1 to mask5, incorrect_mask, normal as {', '.join(KINDS)}"
    _refuse(odd, f"{root}: unexpected file", f"only {wanted} belong here; move it away")
    times = Counter(f"{file.rpartition('/')[0]}/{stem}" for file, stem in named)
    odd = [photo for photo, count in times.items() if count > 1]
    _refuse(odd, f"{root}: one photo with two endings", "keep one file of each")
    return stems


def _read_image_ids(path: str | Path, rows: list[tuple[int, dict[str, str]]]) -> list[str]:
    if not rows:
        raise DataError(f"{path}: no rows; list one photo a row under ImageID")
    first_line = {}
    for number, row in rows:
        name = row["ImageID"]
        if not name:
            raise DataError(f"{path}: line {number} has no ImageID; fill it in or delete the line")
        if name in first_line:
            raise DataError(
                f"{path}: lines {first_line[name]} and {number} both list {name}; delete one"
            )
        first_line[name] = number
    return list(first_line)


def _alike(wanted: Iterable[str], present: Iterable[str], table: str | Path) -> dict[str, str]:
    """What of ``present`` is a wanted name in another Unicode form: macOS and some archives write
    é or 가 as several characters (NFD), tables as one (NFC).

    Raises:
        DataError: several would do.
    """
    forms: dict[str, list[str]] = defaultdict(list)
    for name in present:
        forms[normalize("NFC", name)].append(name)
    found = {}
    for name in wanted:
        names = forms.pop(normalize("NFC", name), [])
        if len(names) > 1:
            raise DataError(
                f"{table}: {name} may be any of {len(names)} names that differ in nothing but their"
                " Unicode form (NFC, NFD); rename all but one"
            )
        if names:
            found[name] = names[0]
    return found


def _read_class(text: str, where: str) -> int:
    if not re.fullmatch(r"[0-9]{1,2}", text) or int(text) >= NUM_CLASSES:
        raise DataError(f"{where}: ans {text!r} is not a class; use 0 to {NUM_CLASSES - 1}")
    return int(text)


def _existing_folder(path: Path, do: str) -> Path:
    if not path.is_dir():
        raise DataError(f"{path}: no such folder; {do}")
    return path


def _visible_names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not is_hidden(name))
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror}); move it away") from error


def _refuse_undecodable(root: Path, names: list[str]) -> None:
    odd = [name for name in names if any("\ud800" <= each <= "\udfff" for each in name)]
    do = "rename, such as with convmv -f cp949 -t utf8 -r --notest (names of a Korean zip)"
    _refuse(odd, f"{root}: name that is not UTF-8", do)


def _refuse(names: list[str], what: str, do: str) -> None:
    """Raise one line on all these names: up to three of them, and how many there are."""
    if names:
        shown = ", ".join(sorted(names)[:3])
        more = f", … ({len(names)} in all)" if len(names) > 3 else ""
        raise DataError(f"{what}: {shown}{more}; {do}")

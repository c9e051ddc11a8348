"""The web page: photos in, answers in words with their reasons.

    streamlit run app.py                                       the newest model under saved/
    streamlit run app.py -- --resume saved/models/sample/demo/best_epoch.pth
    streamlit run app.py -- --resume A.pth B.pth               average two models

The parts of the page are in app_parts/, the way from a photo to its answer in
trainer/photo_model.py.
"""

import logging
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import cast

import streamlit as st
from starlette.middleware import Middleware
from streamlit.delta_generator import DeltaGenerator
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFileRec
from streamlit.starlette import App

from app_parts import checkpoints
from app_parts.answers import Shown, answer, explain, warm_up
from app_parts.cards import first_steps, no_model, photo_card, problem_lines, title_card
from app_parts.checkpoints import Checkpoint, Loaded
from app_parts.gate import Gate
from app_parts.table import answers_table, csv_bytes
from app_parts.uploads import MAX_MEGABYTES, MAX_MEGAPIXELS, MAX_PHOTOS, UploadProblem
from app_parts.words import LANGUAGES, TEXT
from base.task import Task
from trainer.ensemble import require_one_task
from trainer.photo_model import PhotoModel
from utils.errors import UserError
from utils.images import EXTENSIONS
from utils.pages import typeset
from utils.thumbnails import data_uri

logger = logging.getLogger("page")

PARTS = Path(__file__).parent / "app_parts"
CARDS = 6  # photos shown in full; "show more" adds as many


def main() -> None:
    """One run of the page, from top to bottom."""
    st.set_page_config("MaskTracer", str(PARTS / "icon.png"), layout="wide")
    # The title's place is kept free: the model decides on it, and loads below.
    language, title = header()
    # The last run's, so that the title does not jump while models load.
    headline(title, st.session_state.get("task"), language)
    text = TEXT[language]
    try:
        members = chosen_models(language)
    except UserError as error:
        logger.error("error: %s", error)
        # The full path is in the log.
        st.error(f"{text['not_a_model']}: {without_folders(str(error))}")
        return
    if members is None:
        st.html(no_model(language))
        return
    uploads = uploaded_photos(language)
    if not members:
        st.info(text["choose_model"])
        return
    task = members[0][1].model.task
    headline(title, task, language)
    if not uploads:
        st.html(first_steps(task, language))
    if any(member.model.drawn for _, member in members):
        st.warning(text["drawn"])
    shown, problems = answers_to(uploads, members, language)
    if problems:
        st.html(problem_lines(problems, language))
    if len(shown) > 1:
        overview(shown, language)
    cards(shown, members[0][1], language)


def without_folders(message: str) -> str:
    """A message for visitors, who need not know where things lie on the server."""
    return re.sub(r"(?<![\w.])(?:[A-Za-z]:)?[/\\](?:[^/\\:\n]+[/\\])*", "", message)


def header() -> tuple[str, DeltaGenerator]:
    """The language that is chosen, and the place of the title, which the model decides on."""
    st.html(PARTS / "style.css")
    title, switch = st.columns([3, 1], vertical_alignment="top")
    language = switch.container(horizontal_alignment="right").segmented_control(
        TEXT["en"]["language"], list(LANGUAGES), default="en", required=True, key="language",
        format_func=LANGUAGES.__getitem__, label_visibility="collapsed",
    )  # fmt: skip
    return language, title.empty()


def headline(place: DeltaGenerator, task: Task | None, language: str) -> None:
    """What the page is about: the questions of the model's task, which is kept for the next run
    of the page, as models load after it."""
    st.session_state["task"] = task
    place.html(title_card(task, language))


@st.cache_resource(max_entries=4, show_spinner=False)
def loaded(checkpoint: Checkpoint, device: str | None, decoding: str | None) -> Loaded:
    """A model, shared by all visitors; the least used one makes room for a fifth."""
    found = checkpoints.load(checkpoint, device, decoding)
    warm_up(found.model)
    return found


@st.cache_resource
def paste_listener() -> Callable:
    """Hands pictures from the clipboard to the uploader; registered once."""
    return st.components.v2.component("paste", js=(PARTS / "paste.js").read_text("utf-8"))


def chosen_models(language: str) -> list[tuple[Checkpoint, Loaded]] | None:
    """The models that the side bar has chosen; None where there are none to choose from.

    Raises:
        UserError: a wrong command line or checkpoint.
    """
    text, arguments = TEXT[language], checkpoints.parse()
    named = checkpoints.named_checkpoints(arguments.resume)
    offered = list(dict.fromkeys([*named, *checkpoints.saved_checkpoints(arguments.saved)]))
    if not offered:
        return None
    with st.sidebar:
        chosen = st.multiselect(
            text["models"], offered, default=named or offered[:1], key="models",
            format_func=lambda checkpoint: checkpoint.title, help=text["models_help"],
        )  # fmt: skip
        asked = (arguments.device, arguments.decoding)
        with st.spinner(text["loading"]):
            members = [(each, loaded(each, *asked)) for each in chosen]
        # An average of other heads or classes would mean nothing.
        require_one_task({each.title: member.model.task for each, member in members})
        for _, member in members:
            crop = text["crop_by"].format(weights=member.crop) if member.crop else text["no_crop"]
            size = member.model.input_size
            st.caption(f"{text['backbone'].format(backbone=member.backbone, size=size)}, {crop}")
        if len(members) > 1:
            st.caption(text["first_cam"])
        st.caption(text["privacy"])
    return members


def uploaded_photos(language: str) -> list:
    """The files that the visitor chose, dropped, pasted or took with the camera."""
    text = TEXT[language]
    source = st.segmented_control(
        text["source"], ["upload", "camera"], default="upload", required=True, key="source",
        format_func=text.__getitem__, label_visibility="collapsed",
    )  # fmt: skip
    # Part of the uploader's key: a new number is a new, empty uploader.
    generation = st.session_state.setdefault("generation", 0)
    if source == "camera":
        shot = st.camera_input(text["take"], key=f"camera {generation}")
        return [shot] if shot else []
    limits = text["limits"].format(megabytes=MAX_MEGABYTES, photos=MAX_PHOTOS)
    paste_listener()(key="paste")
    return st.file_uploader(
        f"**{text['drop']}** · {limits}", type=list(EXTENSIONS), accept_multiple_files=True,
        key=f"photos {generation}", max_upload_size=MAX_MEGABYTES,
    )  # fmt: skip


def answers_to(
    uploads: list, members: list[tuple[Checkpoint, Loaded]], language: str
) -> tuple[list[tuple[str, Shown]], list[tuple[str, str]]]:
    """Answer every photo once; what the page no longer shows is forgotten.

    Returns:
        (file name, answer) of the photos and (file name, reason) of those that are left out.
    """
    text = TEXT[language]
    # Part of the key: another choice of models is another answer.
    models = tuple(checkpoint for checkpoint, _ in members)
    # Streamlit runs this file at each click; answers are kept between the runs.
    known: dict = st.session_state.setdefault("answers", {})
    bar, shown, problems = st.empty(), [], []
    models_alone = [member.model for _, member in members]
    # Nothing is left of those beyond the limit, also where others are taken out before them.
    emptied = st.session_state.get("emptied", set()) & {upload.file_id for upload in uploads}
    whole = [upload for upload in uploads if upload.file_id not in emptied]
    here = {upload.file_id for upload in whole[:MAX_PHOTOS]}
    forget({file_id for file_id, _ in known} - here)
    for number, upload in enumerate(whole[:MAX_PHOTOS], 1):
        key = (upload.file_id, models)
        if key not in known:
            words = text["working"].format(number=number, total=len(uploads))
            bar.progress(number / len(uploads), words)
            known[key] = outcome(models_alone, upload.getvalue())
        if isinstance(known[key], UploadProblem):
            problems.append((upload.name, reason(known[key], language)))
        else:
            shown.append((upload.name, known[key]))
    bar.empty()
    for upload in whole[MAX_PHOTOS:]:
        forget([upload.file_id], upload.name)
        emptied.add(upload.file_id)
    st.session_state["emptied"] = emptied
    if emptied:
        problems.append(("", text["too_many"].format(number=len(emptied), limit=MAX_PHOTOS)))
    # What was put away, or answered by other models, is let go of.
    kept = {key: known[key] for key in known if key[0] in here and key[1] == models}
    st.session_state["answers"] = kept
    return shown, problems


def forget(file_ids: Iterable[str], name: str = "") -> None:
    """Let go of what was uploaded, which Streamlit would keep as long as the visitor is there; a
    ``name`` goes on being listed, though nothing of it is left."""
    context = get_script_run_ctx()
    assert context is not None  # the page runs in one
    kept = cast(MemoryUploadedFileManager, context.uploaded_file_mgr)
    for file_id in file_ids:
        # Streamlit has no public way; its version is pinned.
        kept.remove_file(context.session_id, file_id)
        if name:
            kept.add_file(context.session_id, UploadedFileRec(file_id, name, "", b""))


def outcome(models: list[PhotoModel], data: bytes) -> Shown | UploadProblem:
    try:
        return answer(models, data)
    except UploadProblem as problem:
        return problem


def reason(problem: UploadProblem, language: str) -> str:
    limit = MAX_MEGABYTES if problem.reason == "megabytes" else MAX_MEGAPIXELS
    return TEXT[language][problem.reason].format(value=problem.value, limit=limit)


def overview(shown: list[tuple[str, Shown]], language: str) -> None:
    """All answers as a table, to be downloaded or put away."""
    text = TEXT[language]
    table = answers_table([(name, each.answer) for name, each in shown], language)
    name, notes = table.columns[0], any(table["note"])
    pictures = {"photo": [data_uri(each.thumbnail) for _, each in shown]}
    sure = ["confidence"] if "confidence" in table else []
    if sure:
        pictures["confidence"] = 100 * table["confidence"]
    st.dataframe(
        table[[name, "note"]].assign(answer=table["answer"].map(typeset), **pictures),
        hide_index=True, row_height=52,
        column_order=["photo", "answer", *sure, name, *(["note"] if notes else [])],
        column_config={
            "photo": st.column_config.ImageColumn(text["photo"], width=70),
            "answer": st.column_config.TextColumn(text["answer"], width="medium"),
            "confidence": st.column_config.ProgressColumn(
                text["confidence"], min_value=0, max_value=100, format="%.0f%%", width="small"
            ),
            name: st.column_config.TextColumn(text["file"], width="medium"),
            "note": st.column_config.TextColumn(text["note"]),
        },
    )  # fmt: skip
    with st.container(horizontal=True):
        # on_click="ignore": downloading need not run the page again.
        st.download_button(
            text["csv"], csv_bytes(table, language), "answers.csv", "text/csv", on_click="ignore"
        )
        st.button(text["clear"], on_click=put_away, type="tertiary")


def put_away() -> None:
    """Start with an empty uploader; the old one's files are dropped."""
    forget([file_id for file_id, _ in st.session_state.pop("answers", {})])
    st.session_state["generation"] += 1
    st.session_state.pop("cards", None)


def cards(shown: list[tuple[str, Shown]], first: Loaded, language: str) -> None:
    """The first photos in full, and a button for the next."""
    number = st.session_state.setdefault("cards", CARDS)
    for name, each in shown[:number]:
        # Only for those shown: Grad-CAM takes as long as the answer itself.
        explain(first.model, each)
        st.html(photo_card(name, each, language))
    if len(shown) > number:
        following = min(CARDS, len(shown) - number)
        st.button(TEXT[language]["more"].format(number=following), on_click=show_more)


def show_more() -> None:
    st.session_state["cards"] += CARDS


if __name__ == "__main__":
    main()
else:  # what `streamlit run` serves; it has this file run as a script for each visitor
    app = App(__file__, middleware=[Middleware(Gate)])

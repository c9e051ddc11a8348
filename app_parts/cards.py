"""The answer to one photo as HTML; all text is HTML's, none is in a picture."""

from pathlib import Path
from typing import Any

import numpy as np

from app_parts.answers import Shown
from app_parts.words import TEXT, confidence_level, heads, percent, thing
from base.heads import Head
from base.task import Task
from trainer.photo_model import PhotoAnswer
from utils.pages import render, typeset
from utils.thumbnails import data_uri

TEMPLATES = Path(__file__).with_name("templates")
BARS = 8
"""Of a head that are shown; of more answers the likeliest."""
FRAME = 3 / 4
"""Width over height of what a photo is fitted into; the style sheet says the same."""


def title_card(task: Task | None, language: str) -> str:
    """The questions of the model's task, once there is one."""
    title = heads(task, language) if task else TEXT[language]["title"]
    return _filled("headline.html", language, title=title)


def photo_card(name: str, shown: Shown, language: str) -> str:
    """Answer, confidence, photo and crop, bars and heat maps; ``name`` is text, and no HTML."""
    said = shown.answer
    return _filled(
        "photo.html",
        language,
        name=name,
        shown=shown,
        said=said,
        answer=typeset(said.sentence(language)),
        words={name: typeset(each) for name, each in said.in_words(language).items()},
        level=confidence_level(said.confidence or 0.0),
        thing=thing(said.task, language),
        # Then a frame around all of the photo would say nothing.
        whole=said.extraction.saliency is None or said.extraction.fallback,
        # The longer side fills the frame, whatever way up the photo is.
        fill="height" if shown.aspect < FRAME else "width",
        bars=[_bars(head, said, language) for head in said.task.heads.values()],
        percent=percent,
        share="{:.2%}".format,
        data_uri=data_uri,
    )


def problem_lines(problems: list[tuple[str, str]], language: str) -> str:
    """Files that were left out, each with the reason in words."""
    return _filled("problems.html", language, problems=problems)


def first_steps(task: Task, language: str) -> str:
    """What will happen to a photo, for a page that has none yet."""
    asked = {"thing": thing(task, language), "heads": heads(task, language)}
    return _filled("first_steps.html", language, **asked)


def no_model(language: str) -> str:
    """How to get a checkpoint."""
    ways = {
        "make app": "none_demo",
        "python train.py --config config.json": "none_train",
        "streamlit run app.py -- --resume CHECKPOINT": "none_resume",
    }
    return _filled("no_model.html", language, ways=ways)


def _filled(template: str, language: str, **content: Any) -> str:
    return render(TEMPLATES / template, language=language, text=TEXT[language], **content)


def _bars(
    head: Head, said: PhotoAnswer, language: str
) -> tuple[str, str, list[tuple[str, float, bool]]]:
    """Title; of a number the answer; of classes and tags each one's name, probability, and whether
    it is the answer."""
    title = head.title(language)
    if head.settings.kind == "number":
        return title, said.in_words(language)[head.name], []
    names = [*map(typeset, head.answer_names(language))]
    probabilities = said.probabilities[head.name].tolist()
    best = said.predicted[head.name]
    chosen = set(np.flatnonzero(best)) if head.settings.kind == "multilabel" else {int(best)}
    likeliest = np.argsort(-said.probabilities[head.name], kind="stable")[:BARS].tolist()
    shown = likeliest if len(names) > BARS else range(len(names))
    return title, "", [(names[place], probabilities[place], place in chosen) for place in shown]

"""The answer to one photo as HTML; all text is HTML's, none is in a picture."""

from html import escape

import numpy as np

from app_parts.answers import Shown
from app_parts.words import TEXT, confidence_level, heads, percent, thing
from base.heads import Head
from base.task import Task
from trainer.photo_model import PhotoAnswer
from utils.thumbnails import data_uri

BARS = 8
"""Of a head that are shown; of more answers the likeliest."""
FRAME = 3 / 4
"""Width over height of what a photo is fitted into; the style sheet says the same."""


def photo_card(name: str, shown: Shown, language: str) -> str:
    """Answer, confidence, photo and crop, bars and heat maps; ``name`` is text, and no HTML."""
    text = TEXT[language]
    said = shown.answer
    # Only <b> and the page's own words: nothing here comes from a visitor.
    strange = f"<b>{text['no_person']}</b> {text['no_person_more']}"
    notes = [strange] * (not said.trusted) + [text["fallback"]] * said.extraction.fallback
    note = "".join(f'<p class="mt-note">{line}</p>' for line in notes)
    note = note.format(thing=thing(said.task, language))
    # Then a frame around all of the photo would say nothing.
    whole = said.extraction.saliency is None or said.extraction.fallback
    bars = [_bars(head, said, language) for head in said.task.heads.values()]
    # lang: screen readers and fonts go by it, and the page has both languages.
    return f"""<article class="mt-card" lang="{language}">
<header><p class="mt-file">{escape(name)}</p>
<h2 class="mt-answer">{escape(said.sentence(language))}</h2>
{_confidence(said, language)}{note}</header>
<div class="mt-grid mt-pictures">
{_figure(_framed_photo(shown, whole, text["photo"]), text["photo"])}
{_figure(_picture(shown.crop, text["crop"]), text["whole"] if whole else text["crop"])}
<div class="mt-bars">{"".join(bars)}</div>
</div>
{_why(shown, language) if shown.heat else ""}
</article>"""


def problem_lines(problems: list[tuple[str, str]], language: str) -> str:
    """Files that were left out, each with the reason in words."""
    lines = [f"<li><b>{escape(name)}</b> {escape(reason)}</li>" for name, reason in problems]
    title = TEXT[language]["left_out"]
    return f'<aside class="mt-problems"><h3>{title}</h3><ul>{"".join(lines)}</ul></aside>'


def first_steps(task: Task, language: str) -> str:
    """What will happen to a photo, for a page that has none yet."""
    words = {"thing": thing(task, language), "heads": escape(heads(task, language))}
    steps = "".join(
        f"<li><b>{title}</b><p>{what.format(**words)}</p></li>"
        for title, what in TEXT[language]["steps"]
    )
    return f'<ol class="mt-steps" lang="{language}">{steps}</ol>'


def no_model(language: str) -> str:
    """How to get a checkpoint."""
    text = TEXT[language]
    ways = {
        "make app": "none_demo",
        "python train.py --config config.json": "none_train",
        "streamlit run app.py -- --resume CHECKPOINT": "none_resume",
    }
    rows = [f"<dt><code>{typed}</code></dt><dd>{text[key]}</dd>" for typed, key in ways.items()]
    return (
        f'<article class="mt-card mt-empty"><h2 class="mt-answer">{text["none_title"]}</h2>'
        f"<p>{text['none_lead']}</p><dl>{''.join(rows)}</dl></article>"
    )


def _confidence(said: PhotoAnswer, language: str) -> str:
    """How sure the answer is; of a number there is nothing to say."""
    text = TEXT[language]
    if said.confidence is None and said.trusted:
        return ""
    level = confidence_level(said.confidence or 0.0)
    sure = text["sure"][level]
    # An answer to a photo that looks like none in training is doubtful at any probability.
    if not said.trusted:
        level, sure = len(text["sure"]) - 1, text["doubtful"]
    share = "" if said.confidence is None else f"<span>{percent(said.confidence)}</span>"
    return (
        f'<p class="mt-sure mt-sure-{level}" title="{text["sure_more"]}"><i></i><b>{sure}</b>\n'
        f"{share}</p>"
    )


def _why(shown: Shown, language: str) -> str:
    text, figures = TEXT[language], []
    words = shown.answer.in_words(language)
    for name, heat in shown.heat.items():
        title, best = shown.answer.task.heads[name].title(language), words[name]
        caption = f"<b>{escape(title)}</b> {escape(best)}"
        figures.append(_figure(_picture(heat, f"{title}: {best}"), caption))
    return (
        f'<section class="mt-why"><h3>{text["why"]}</h3><p>{text["why_more"]}</p>'
        f'<div class="mt-grid">{"".join(figures)}</div></section>'
    )


def _bars(head: Head, said: PhotoAnswer, language: str) -> str:
    title = f"<h4>{escape(head.title(language))}</h4>"
    if head.settings.kind == "number":
        return f"{title}<p>{escape(said.in_words(language)[head.name])}</p>"
    rows, names = [], head.answer_names(language)
    probabilities, best = said.probabilities[head.name], said.predicted[head.name]
    chosen = set(np.flatnonzero(best)) if head.settings.kind == "multilabel" else {int(best)}
    likeliest = np.argsort(-probabilities, kind="stable")[:BARS].tolist()
    for place in likeliest if len(names) > BARS else range(len(names)):
        share = float(probabilities[place])
        rows.append(
            f"<li{' class=mt-best' if place in chosen else ''}><span>{escape(names[place])}</span>"
            f"<span>{percent(share)}</span>"
            # 0.4 % at least: a bar of nothing looks like a mistake of the page.
            f'<i><i style="width:{max(share, 0.004):.1%}"></i></i></li>'
        )
    return f"{title}<ul>{''.join(rows)}</ul>"


def _framed_photo(shown: Shown, whole: bool, alt: str) -> str:
    # The longer side fills the frame, whatever way up the photo is.
    fill = "height:100%" if shown.aspect < FRAME else "width:100%"
    left, top, width, height = shown.box
    box = (
        f'<i class="mt-box" style="left:{left:.2%};top:{top:.2%};'
        f'width:{width:.2%};height:{height:.2%}"></i>'
    )
    return (
        f'<span class="mt-photo" style="aspect-ratio:{shown.aspect:.4f};{fill}">'
        f"{_picture(shown.photo, alt)}{'' if whole else box}</span>"
    )


def _picture(jpeg: bytes, alt: str) -> str:
    return f'<img src="{data_uri(jpeg)}" alt="{escape(alt)}">'


def _figure(inside: str, caption: str) -> str:
    return (
        f'<figure><div class="mt-frame">{inside}</div><figcaption>{caption}</figcaption></figure>'
    )

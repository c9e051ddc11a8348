"""The verdict of a report in plain words: is it good, where is it wrong, why, what to try."""

from dataclasses import dataclass, field

import numpy as np

from logger.report import scores
from logger.report.predictions import HeadPredictions, NumberPredictions, TaskPredictions
from logger.report.run import Run

GRADES = ((0.9, "Excellent", "good"), (0.7, "Good", "good"), (0.45, "Fair", "fair"))
"""Macro-F1 from which a grade holds, the word, and its color; below the last it is weak. Of a
number it is the share of the error of always guessing the median that is saved."""
LEARNED = 0.99
"""Macro-F1 above which a batch counts as memorized."""
FEW = 30
"""Photos below which a score is little more than an anecdote."""


@dataclass(frozen=True)
class Verdict:
    """What the top of the page says: grade, its tone (``"good"``, ``"fair"``, ``"bad"`` or
    ``"unknown"``) and sentences."""

    grade: str
    tone: str
    headline: str
    detail: str
    where: list[str] = field(default_factory=list)
    why: list[str] = field(default_factory=list)


def verdict(run: Run) -> Verdict:
    """Evaluate a run by its predictions, or say why that can't be done."""
    if (predictions := run.scored) is None:
        return _without_predictions(run)
    score, headline, detail = _outcome(run, predictions)
    better = scores.better_than_guessing(predictions)
    grade, tone = _grade(run, score, better)
    guessed = scores.guessing(predictions.whole).accuracy  # NaN for numbers
    if better is False and scores.accuracy(predictions.whole) > guessed:
        detail += " Chance may explain that difference."
    if len(predictions) < FEW:
        # An interval would say it better, and stands below; this is for who reads one line only.
        detail += f" These are {_count(len(predictions), 'photo')} only: take no number as settled."
    if run.of_folds:
        detail += (
            f" Each photo is answered by the fold that set its {predictions.noun} aside;"
            f" {len(run.folds)} of {run.of_folds} folds are trained."
        )
    if run.best_epoch:
        detail += f" All this is about epoch {run.best_epoch}, the best."
    return Verdict(grade, tone, headline, detail, _where(predictions), _why(run, predictions))


def _outcome(run: Run, predictions: TaskPredictions) -> tuple[float, str, str]:
    """The score that the grade follows, the headline, and what guessing would give."""
    whole, guess = predictions.whole, scores.guessing(predictions.whole)
    score = scores.main_score(whole)
    if whole.kind == "number":
        return (
            # The part of guessing's error that is saved, so that GRADES hold for numbers, too.
            1 - score / guess.score if guess.score else float(score == 0),
            f"Off by {score:.3g} on average on {_subjects(run)}.".replace(" on photos.", "."),
            f"Always guessing {guess.commonest} would be off by {guess.score:.3g}.",
        )
    parts = _listed([q.title for q in predictions.details if q.kind != "number"])
    detail = f"A photo counts as right if {parts} all are. " if len(predictions.details) > 1 else ""
    detail += (
        f"Always guessing “{guess.commonest}” would be right on {_of_100(guess.accuracy)} of 100,"
        f" a blind guess on {_of_100(guess.blind)}."
    )
    return score, f"Right on {_of_100(scores.accuracy(whole))} of 100 {_subjects(run)}.", detail


def _subjects(run: Run) -> str:
    """What to call the photos predicted."""
    of = f" of {run.plural}" if run.plural != "photos" else ""
    return {
        "nobody": f"photos{of} it never saw",
        "group": f"other photos of the {run.plural} it was trained on",
        "photos": "photos it was trained on",
        None: "photos",
    }[run.trained_on]


def _without_predictions(run: Run) -> Verdict:
    score, grade, tone = run.best.get("val/f1"), "Unknown", "unknown"
    if run.folds:
        headline = f"{len(run.folds)} of {run.of_folds} folds are trained."
        detail = "The predictions of none were kept; folds.md in the log folder has their scores."
    elif run.of_folds:
        grade, headline = "Not yet", f"None of the {run.of_folds} folds is trained to its end."
        detail = "There is nothing to evaluate; each fold has a report of its own."
    elif not run.history:
        grade, headline = "Not yet", "No epoch has ended yet."
        detail = "There is nothing to evaluate; this page fills up as the run goes on."
    elif score is None:
        headline = f"Trained for {_count(len(run.history), 'epoch')}, never validated."
        others = f"{'photos of ' * (run.plural != 'photos')}{run.plural}"
        detail = (
            f"Without {others} that it was not trained on, nothing can be said about how good it"
            " is. test.py --answers evaluates it on others."
        )
    else:
        grade, tone = _grade(run, score, better=True)
        headline = f"Macro-F1 {score:.3f} on {_subjects(run)}."
        detail = (
            "The predictions themselves were not kept with this run, so this page can't say where"
            " it is wrong."
        )
    return Verdict(grade, tone, headline, detail)


def _grade(run: Run, score: float, better: bool | None) -> tuple[str, str]:
    """Grade and tone of a macro-F1; ``better``: than guessing, if that can be said."""
    # overfit_batch asks whether the model can learn at all; a grade would mislead.
    if run.trained_on == "photos":
        return ("Memorized", "good") if score > LEARNED else ("Not learned", "bad")
    # Known faces: no score on them tells how good it is on others.
    if run.trained_on == "group":
        return "Flattered", "unknown"
    if better is None:
        return "Too few to tell", "unknown"
    if not better:
        return "No better than guessing", "bad"
    return next((grade[1:] for grade in GRADES if score >= grade[0]), ("Weak", "bad"))


def _where(predictions: TaskPredictions) -> list[str]:
    whole = predictions.whole
    asked = predictions.details or (whole,)
    off = [_off(head) for head in asked if isinstance(head, NumberPredictions)]
    if not (wrong := int(whole.wrong.sum())):
        return off or ["Nowhere: every photo is right."]
    said = []
    # Several heads may be wrong on one photo, so that these add up to more than the photos.
    shares = [(int(q.wrong.sum()), q) for q in predictions.details if q.kind != "number"]
    if any(count for count, _ in shares):
        most, head = max(shares, key=lambda pair: pair[0])
        others = ", ".join(f"{q.title} in {count}" for count, q in shares if q is not head)
        mostly = f"the {head.title} is wrong in {most}" + (f" ({others})" if others else "")
        said.append(f"Of {_count(wrong, 'wrong photo')}, {mostly}.")
    classes = [head for head in asked if head.kind == "classes"]
    if any(head.wrong.any() for head in classes):
        said.append(_commonest_mix_up(classes))
    # Without a class of the whole the weakest class is sought in each head.
    of = [whole] if whole.kind != "together" else list(whole.parts)
    return [*said, *(line for head in of for line in _weakest(head)), *off]


def _off(head: NumberPredictions) -> str:
    errors = head.errors[head.known]
    worst = int(head.mistakes[0])
    return (
        f"{head.title} is off by {errors.mean():.3g} on average, in one photo of ten by"
        f" {np.quantile(errors, 0.9):.3g} or more; at worst {head.said(worst)} was said of"
        f" {head.true(worst)}."
    )


def _weakest(head: HeadPredictions) -> list[str]:
    scored = [score for score in scores.class_scores(head) if score.support]
    if not scored:
        return []
    what, several = ("tag", "tags") if head.kind == "tags" else ("class", "classes")
    weakest = min(scored, key=lambda score: (score.f1 or 0, -score.support))
    on = f"F1 {weakest.f1 or 0:.2f} on {_count(weakest.support, 'photo')}"
    said, names = [], len(head.names)
    if weakest.f1 != 1:
        said.append(f"The weakest {what}: “{weakest.name}”, {on}.")
    if missing := names - len(scored):
        said.append(f"{missing} of {names} {several} never occur here: nothing is known.")
    return said


def _commonest_mix_up(heads: list[HeadPredictions]) -> str:
    tables = [scores.confusion(head) for head in heads]
    for table in tables:
        np.fill_diagonal(table, 0)
    most = max(range(len(tables)), key=lambda number: tables[number].max())
    true, predicted = np.unravel_index(tables[most].argmax(), tables[most].shape)
    names, number = heads[most].names, int(tables[most].max())
    times = {1: "once", 2: "twice"}.get(number, f"{number:,} times")
    return f"The commonest mix-up: “{names[true]}” taken for “{names[predicted]}”, {times}."


def _why(run: Run, predictions: TaskPredictions) -> list[str]:
    """The reasons that the numbers speak for, the strongest first; at most four."""
    if run.trained_on == "photos":
        return [MEMORIZED if _outcome(run, predictions)[0] > LEARNED else NOT_MEMORIZED]
    flattered = [FLATTERED.format(run.plural)] if run.trained_on == "group" else []
    # Most certain first; of more than four the reader takes none to heart.
    reasons = [*flattered, *_learning(run), *_borders(predictions), *_imbalance(predictions)]
    reasons += [*_fallbacks(predictions), *_confidence(predictions)]
    return reasons[:4] or ["Nothing stands out: look at the mistakes themselves, below."]


MEMORIZED = (
    "One batch is memorized: model, labels and optimizer work together. How good it is on others, a"
    " training without trainer.overfit_batch says."
)
NOT_MEMORIZED = (
    "A model that works memorizes one batch. Where it does not: more epochs, a higher learning"
    " rate, and none of what holds it back (dropout, moving average, frozen layers, class weights);"
    " or the labels contradict each other."
)
FLATTERED = (
    "The same {} are in training and validation (validation.type image_level), and are known again:"
    " on others it will do worse. validation.type=holdout says how much."
)


def _learning(run: Run) -> list[str]:
    trained, held_out, said = run.best.get("train/f1"), run.best.get("val/f1"), []
    if run.tested or trained is None or held_out is None:
        return []
    if trained - held_out > 0.1:
        said.append(
            f"It knows its training photos better than others (macro-F1 {trained:.2f} against"
            f" {held_out:.2f}): more {run.plural}, stronger augmentation or a smaller backbone."
        )
    # Mixed photos lower the training's score by design.
    elif trained < 0.6 and held_out < 0.7 and not run.mixed:
        said.append(
            f"It has not learned its training photos either (macro-F1 {trained:.2f}): train longer,"
            " a larger backbone, pretrained weights or another learning rate."
        )
    if _still_rises(run):
        said.append("The last epoch was the best one and the score still rose: train longer.")
    return said


def _still_rises(run: Run) -> bool:
    """Whether the last quarter of the epochs brought a macro-F1 that is 0.01 better or more."""
    # Fewer epochs are nearly always still rising.
    if len(run.history) < 4 or run.best_epoch != run.history[-1]["epoch"]:
        return False
    earlier = run.history[-1 - len(run.history) // 4].get("val/f1")
    return earlier is not None and run.best["val/f1"] - earlier >= 0.01


def _borders(predictions: TaskPredictions) -> list[str]:
    for head in predictions.details or (predictions.whole,):
        if not head.edges or head.values is None or head.wrong.sum() < 5:
            continue
        near = scores.near_a_border(head)
        share, usual = near[head.wrong].mean(), near.mean()
        # A third more than chance: below that close calls explain nothing.
        if share > 1.3 * usual:
            edges = _listed([f"{edge:g}" for edge in head.edges])
            return [
                f"{share:.0%} of the {head.title} mistakes are within {head.near:g} of the"
                f" {head.number} {edges}, as are {usual:.0%} of the photos: close calls, which"
                " even people get wrong."
            ]
    return []


def _imbalance(predictions: TaskPredictions) -> list[str]:
    if predictions.whole.kind not in ("classes", "tags"):
        return []
    scored = [score for score in scores.class_scores(predictions.whole) if score.support]
    scored.sort(key=lambda score: score.support)
    # A third of fewer classes is one class, whose luck would pass for a rule.
    if len(scored) < 6:
        return []
    third = len(scored) // 3
    ends = (scored[:third], scored[-third:])
    rare, common = (float(np.mean([score.recall for score in end])) for end in ends)
    if common - rare < 0.1:
        return []
    return [
        f"Rare classes suffer: of the rarest third {rare:.0%} are found, of the commonest"
        f" {common:.0%}. Class weights, or more {predictions.plural} of the rare kinds."
    ]


def _fallbacks(predictions: TaskPredictions) -> list[str]:
    fallback = predictions.fallback
    if fallback is None or not fallback.any() or fallback.all():
        return []
    wrong = predictions.whole.wrong  # of numbers none, so that nothing is said
    whole, cropped = wrong[fallback].mean(), wrong[~fallback].mean()
    # Ten points: less may be the harder photos themselves.
    if whole < cropped + 0.1:
        return []
    return [
        f"In {_count(int(fallback.sum()), 'photo')} no {predictions.subject} was found; {whole:.0%}"
        f" of these are wrong against {cropped:.0%} of the others: look at them below."
    ]


def _confidence(predictions: TaskPredictions) -> list[str]:
    if predictions.whole.kind not in ("classes", "tags"):
        return []
    found = scores.calibration(predictions.whole)
    # Nearly every trained network has an ECE of some percent (Guo et al. 2017, arXiv:1706.04599).
    if found.error < 0.08:
        return []
    mean, right = found.confidence, found.confidence - found.overconfidence
    if found.overconfidence > 0:
        return [
            f"It is overconfident: on average {mean:.0%} sure and {right:.0%} right. Label"
            " smoothing, or scale its probabilities before you rely on them."
        ]
    return [f"It is underconfident: on average {mean:.0%} sure and {right:.0%} right."]


def _of_100(share: float) -> str:
    """``"92"``, but never 100 or 0 unless it is exactly that."""
    return f"{share * 100:.{int(0.99 < share < 1 or 0 < share < 0.01)}f}"


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}" + ("" if number == 1 else "s")

"""Everything the page says, in both its languages; what it says of answers comes from the task."""

from typing import Any

from base.task import Task
from utils.images import KINDS

# Each in its own words, so that whoever needs one can read it.
LANGUAGES = {"en": "English", "ko": "한국어"}

TEXT: dict[str, dict[str, Any]] = {
    "en": {
        "title": "Photos, answered",
        "lead": "A model looks at a photo and answers. And it shows where it looked.",
        "language": "Language",
        "upload": "Photos",
        "camera": "Camera",
        "source": "Where photos come from",
        "drop": "Drop photos here, or paste one",
        "limits": "JPEG, PNG, WebP, HEIC and more, up to {megabytes} MB each, {photos} at a time",
        "steps": (
            ("Cut out", "TRACER finds the {thing}; everything around is taken away."),
            ("Answer", "{heads}, each with its probability."),
            ("Reason", "A heat map for each answer shows what it was read from."),
        ),
        "take": "Take a photo",
        "models": "Models",
        "models_help": "Several are averaged, as test.py does.",
        "backbone": "{backbone}, {size} px",
        "crop_by": "crop by TRACER ({weights})",
        "no_crop": "sees whole photos",
        "first_cam": "What is shown below of crop and heat is the first model's.",
        "privacy": "Photos are kept in memory while this page shows them, and nowhere else.",
        "loading": "Loading the model …",
        "working": "Photo {number} of {total}",
        "choose_model": "Choose at least one model in the side bar.",
        "not_a_model": "This model can't be used",
        "photo": "Photo",
        "crop": "Cut out by TRACER: what the model sees",
        "whole": "The whole photo",
        "fallback": "No {thing} was found in this photo, so the whole of it was used.",
        "no_person": "No {thing} found, answer not to be trusted.",
        "no_person_more": "TRACER found none, or this is unlike the photos the model was trained"
        " on.",
        "doubtful": "Not to be trusted",
        "note": "Note",
        "drawn": "This model knows drawn people only. It is a demonstration, and what it says of"
        " real photos means nothing.",
        "why": "Where the model looked",
        "why_more": "Bright areas spoke most for the answer (Grad-CAM).",
        "sure": ("Very sure", "Fairly sure", "Not sure", "Little more than a guess"),
        "sure_more": "Probability, by the model's own account, that all answers are right",
        "all": "All photos",
        "file": "File",
        "answer": "Answer",
        "confidence": "Confidence",
        "csv": "Download CSV",
        "more": "Show {number} more",
        "clear": "Remove all photos",
        "left_out": "Left out",
        "unreadable": f"This is not a photo that can be read ({', '.join(KINDS)} can).",
        "megapixels": "{value:.0f} megapixels are too many; up to {limit} are fine. Make it"
        " smaller and try again.",
        "megabytes": "{value:.0f} MB are too many; up to {limit} are fine.",
        "too_many": "{number} photos more than the {limit} that are answered at a time.",
        "failed": "Something went wrong with this photo.",
        "none_title": "There is no trained model yet",
        "none_lead": "The page needs a checkpoint. One of these makes or names one:",
        "none_demo": "Trains the demo on generated people, within minutes, and starts this page",
        "none_train": "Trains your own model; this page finds it in saved/",
        "none_resume": "Takes a checkpoint from anywhere",
    },
    "ko": {
        "title": "사진에 답하기",
        "lead": "모델이 사진을 보고 답합니다. 사진의 어디를 보고 판단했는지도 보여 줍니다.",
        "language": "언어",
        "upload": "사진",
        "camera": "카메라",
        "source": "사진을 가져올 곳",
        "drop": "사진을 여기에 놓거나 붙여넣으세요",
        "limits": "JPEG, PNG, WebP, HEIC 등, 장당 최대 {megabytes}MB, 한 번에 {photos}장까지",
        "steps": (
            ("추출", "TRACER가 {thing}을 찾고 나머지 배경을 지웁니다."),
            ("답", "각각 확률과 함께 답합니다: {heads}."),
            ("이유", "답마다 무엇을 보고 판단했는지 히트맵으로 보여 줍니다."),
        ),
        "take": "사진 찍기",
        "models": "모델",
        "models_help": "여러 개를 고르면 test.py처럼 확률을 평균합니다.",
        "backbone": "{backbone}, {size}px",
        "crop_by": "TRACER로 인물 추출 ({weights})",
        "no_crop": "사진 전체를 봄",
        "first_cam": "아래의 추출 영역과 히트맵은 첫 번째 모델의 것입니다.",
        "privacy": "사진은 이 페이지에 보이는 동안 메모리에만 있으며 저장되지 않습니다.",
        "loading": "모델을 불러오는 중…",
        "working": "사진 {number} / {total}",
        "choose_model": "사이드바에서 모델을 하나 이상 고르세요.",
        "not_a_model": "이 모델은 사용할 수 없습니다",
        "photo": "사진",
        "crop": "TRACER가 잘라낸 부분: 모델이 보는 것",
        "whole": "사진 전체",
        "fallback": "사진에서 {thing}을 찾지 못해 사진 전체를 사용했습니다.",
        "no_person": "{thing}을 찾지 못했습니다. 이 답은 믿을 수 없습니다.",
        "no_person_more": "TRACER가 {thing}을 찾지 못했거나, 모델이 학습한 사진과 전혀 다릅니다.",
        "doubtful": "믿을 수 없음",
        "note": "참고",
        "drawn": "이 모델은 그림으로 그린 가상 인물만 학습한 데모입니다. 실제 사진에 대한 답은"
        " 의미가 없습니다.",
        "why": "모델이 본 곳",
        "why_more": "밝을수록 답에 크게 기여한 부분입니다 (Grad-CAM).",
        "sure": ("매우 확실함", "대체로 확실함", "확실하지 않음", "추측에 가까움"),
        "sure_more": "답이 모두 맞을 확률 (모델의 추정)",
        "all": "전체 사진",
        "file": "파일",
        "answer": "답",
        "confidence": "확신도",
        "csv": "CSV 내려받기",
        "more": "{number}장 더 보기",
        "clear": "사진 모두 지우기",
        "left_out": "제외된 파일",
        "unreadable": f"읽을 수 없는 파일입니다. {', '.join(KINDS)} 사진을 올려 주세요.",
        "megapixels": "{value:.0f}메가픽셀은 너무 큽니다. {limit}메가픽셀 이하로 줄여서 다시"
        " 올려 주세요.",
        "megabytes": "{value:.0f}MB는 너무 큽니다. {limit}MB까지 올릴 수 있습니다.",
        "too_many": "한 번에 {limit}장까지 답합니다. {number}장은 제외되었습니다.",
        "failed": "이 사진을 처리하는 중 문제가 생겼습니다.",
        "none_title": "아직 학습된 모델이 없습니다",
        "none_lead": "이 페이지에는 체크포인트가 필요합니다. 다음 중 하나로 준비할 수 있습니다.",
        "none_demo": "가상 인물로 데모 모델을 몇 분 안에 학습하고 이 페이지를 시작합니다",
        "none_train": "직접 모델을 학습합니다. 이 페이지가 saved/에서 찾습니다",
        "none_resume": "다른 곳에 있는 체크포인트를 사용합니다",
    },
}

SURE_FROM = (0.9, 0.7, 0.5)
"""Probabilities from which an answer is very sure, fairly sure, not sure."""

THINGS = {"en": ("person", "subject"), "ko": ("사람", "대상")}
"""Language → what TRACER looks for where photos are of people, and elsewhere."""


def thing(task: Task | None, language: str) -> str:
    """What TRACER looks for in the photos of a task."""
    person, other = THINGS[language]
    return person if task is None or task.noun == "person" else other


def heads(task: Task, language: str) -> str:
    """What a task asks, such as "Kind, color, size"."""
    titles = ", ".join(head.title(language) for head in task.heads.values())
    return titles[:1].upper() + titles[1:].lower()


def confidence_level(probability: float) -> int:
    """0 for very sure to 3 for a guess."""
    return sum(probability < limit for limit in SURE_FROM)


def percent(probability: float) -> str:
    """A probability as people read it; nothing is called 100 %."""
    # From 0.995 on a whole number would be 100; there a decimal is shown, 99.9 % at most.
    return f"{probability:.0%}" if probability < 0.995 else f"{min(probability, 0.999):.1%}"

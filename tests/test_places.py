"""Tests mirror the tree: what a file does is tested in its namesake, or where this page says."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = (
    "app_parts", "base", "data_loader", "examples", "faces", "logger", "model", "tools", "trainer",
    "TRACER", "utils",
)  # fmt: skip
SHIM = 5
"""Lines of a file that only runs another."""
ELSEWHERE = {
    # A network is right if the whole of it gives the maps of the released weights.
    "TRACER/attention.py TRACER/decoder.py TRACER/encoder.py TRACER/layers.py"
    " TRACER/official_keys.py": "TRACER/test_network.py",
    # What it draws is looked at where a training reads it.
    "TRACER/augmentation.py": "TRACER/test_dataset.py",
    # Commands are tested by calling them.
    "TRACER/__main__.py TRACER/evaluate_command.py TRACER/extract_command.py"
    " TRACER/train_command.py": "TRACER/test_cli.py",
    "train.py": "end_to_end/test_training.py",
    "test.py trainer/prediction_session.py": "end_to_end/test_prediction.py",
    "trainer/session.py trainer/callbacks.py": "end_to_end/test_training.py",
    "tools/audit/__main__.py tools/audit/proposals.py tools/audit/suspects.py":
        "tools/test_audit.py",
    "tools/explore/__main__.py tools/explore/page.py tools/explore/pictures.py"
    " tools/explore/session.py": "tools/test_explore.py",
    "tools/__main__.py": "tools/test_main.py",
    "tools/report.py": "logger/report/test_write.py",
    "tools/convert_backbone.py faces/measured_norms.py":
        "faces/test_dlib_weights.py faces/test_faceres_weights.py",
    "tools/runs.py": "logger/report/test_runs.py",
    "tools/sample.py": "faces/test_sample.py",
    "tools/serve.py": "trainer/test_serving.py",
    "tools/tune_decoding.py trainer/tuning_session.py": "model/test_decoding.py",
    "trainer/space.py": "trainer/test_search.py",
    "trainer/study_storage.py": "trainer/test_plan.py tools/test_sweep.py",
    "trainer/sweep_session.py": "tools/test_sweep.py",
    "model/onnx_int8.py examples/predict_onnx.py examples/predict_photo.py"
    " trainer/export_session.py": "tools/test_export.py",
    "trainer/explain_session.py": "tools/test_explain.py",
    # Small parts of one thing, which are only right together.
    "app_parts/table.py": "app_parts/test_cards.py",
    "base/base_model.py": "model/test_model.py",
    "base/forward.py": "base/test_train_step.py end_to_end/test_distributed.py",
    "base/gradients.py": "base/test_train_step.py base/test_together.py",
    "base/data_settings.py base/task_settings.py": "base/test_task.py",
    "logger/report/predictions.py": "logger/report/test_per_head.py logger/report/test_scores.py",
    # The schema: every key's description, default and refusal.
    "utils/older_names.py base/settings.py TRACER/settings.py"
    " data_loader/settings.py logger/settings.py model/settings.py trainer/settings.py":
        "test_config_schema.py test_parse_config.py",
}  # fmt: skip
"""Files → where they are tested."""
UNTESTED = {"faces/portrait"}
"""How a person is drawn: faces/test_sample.py looks at whole pictures, and pixels are taste."""


def sources():
    files = [file for room in ROOMS for file in (ROOT / room).rglob("*.py")]
    for file in [*ROOT.glob("*.py"), *files]:
        lines = file.read_text(encoding="utf-8").count("\n")
        place = file.relative_to(ROOT)
        if lines > SHIM and file.name != "__init__.py" and str(place.parent) not in UNTESTED:
            yield place.as_posix()


def places_of(file):
    for files, tests in ELSEWHERE.items():
        if file in files.split():
            return tests.split()
    folder, _, name = file.rpartition("/")
    return [f"{folder}/test_{name}".removeprefix("/")]


def test_each_file_has_its_tests():
    lacking = {
        file: place
        for file in sources()
        for place in places_of(file)
        if not (ROOT / "tests" / place).is_file()
    }
    assert not lacking, "write these tests, or say here where the files are tested"


def test_the_list_names_only_files_that_need_it():
    for file in " ".join(ELSEWHERE).split():
        assert (ROOT / file).is_file() or not (ROOT / "faces").exists(), file
        folder, _, name = file.rpartition("/")
        assert not (ROOT / "tests" / folder / f"test_{name}").is_file(), f"{file} has its own now"

"""What a training of the faces leaves to look at."""

from logger.predictions import read_predictions


def test_a_report_of_the_faces_has_the_borders_of_its_ages(trained):
    page = (trained.log / "report.html").read_text(encoding="utf-8")
    assert "14 photos" in page and "of 2 people" in page
    assert "The borders" in page and "age bin" in page
    assert "Fallback crops" not in page  # nothing was cropped


def test_what_the_report_needs_is_in_the_run_folder(trained, people):
    saved = read_predictions(trained.log / "predictions.npz")
    files, ages = saved.photos["photo"], saved.values["age"]
    assert saved.probabilities["mask"].shape == (14, 3) and len(saved.thumbnails) == 14
    assert all((people / "train" / "images" / file).is_file() for file in files)
    assert [int(file.split("/")[0].rpartition("_")[2]) for file in files] == ages.tolist()

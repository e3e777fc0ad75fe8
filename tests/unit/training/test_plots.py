"""Are the pictures whole and the same again, and does a missing font make itself known?"""

import numpy as np
import pytest
from matplotlib import font_manager
from spamguard_training.plots import Sample, cjk_font, draw

from tests.components import missing

PNG = b"\x89PNG\r\n\x1a\n"
CURVE = [{"rows": 10, "auc": 0.8, "recall": 0.3}, {"rows": 100, "auc": 0.9, "recall": 0.6}]


@pytest.fixture(scope="module")
def sample() -> Sample:
    rng = np.random.default_rng(1)
    spam = np.arange(600) % 3 == 0
    return Sample(spam, np.where(spam, 3.0, -3.0) + rng.normal(0, 2, 600), 0.3, 0.7)


def test_every_picture_is_a_png_and_the_same_again(sample: Sample) -> None:
    drawn = draw(sample, CURVE)
    assert list(drawn.png) == ["roc", "precision-recall", "calibration", "scores", "learning-curve"]
    assert all(content.startswith(PNG) for content in drawn.png.values())
    assert len(set(drawn.png.values())) == len(drawn.png)
    assert draw(sample, CURVE).png == drawn.png


def test_without_a_learning_curve_there_is_no_picture_of_one(sample: Sample) -> None:
    assert "learning-curve" not in draw(sample).png


def test_scores_that_are_all_on_one_side_can_be_drawn() -> None:
    spam = np.array([True, False, True, False])
    assert draw(Sample(spam, np.array([40.0, -40.0, 40.0, -40.0]), 0.0, 1.0)).png


def test_without_a_font_for_chinese_the_labels_are_english_and_a_note_says_so(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: ["/usr/share/fonts/DejaVuSans.ttf"])
    assert cjk_font() is None
    assert "fonts-noto-cjk" in " ".join(draw(sample, font=cjk_font()).notes)


def test_an_installed_font_writes_chinese(sample: Sample) -> None:
    if (font := cjk_font()) is None:
        missing("font", "a font for Chinese", enable="apt-get install fonts-noto-cjk")
    drawn = draw(sample, font=font)  # a glyph that is missing would be a warning, and so an error here
    assert drawn.notes == []
    assert drawn.png["roc"] != draw(sample).png["roc"]

"""How strongly to perturb calibration images for `perturbed_temperature`.

Tomani et al. 2021 (CVPR, arXiv 2012.10988): ten levels of Gaussian noise, so strong that accuracy
falls in even steps from that of clean images to chance, 1 / C.
"""

from __future__ import annotations

from collections.abc import Callable

from carot.errors import CalibrationError

LEVELS = 10
HALVINGS = 20


def evenly_falling(
    accuracy_at: Callable[[float], float],
    chance: float,
    *,
    levels: int = LEVELS,
    strongest: float = 8.0,
) -> tuple[float, ...]:
    """Noise levels at which accuracy has fallen by 1/levels, 2/levels, … of the way to chance.

    Found by halving intervals, which takes for granted that accuracy falls as noise grows, as it
    does but for chance. A level that even the strongest noise does not reach is that noise.

    Args:
        accuracy_at: accuracy of the calibration images with noise of a standard deviation, in
            units of the preprocessed pixels; at 0, of the clean ones.
        chance: that of guessing, 1 / C.
        levels: how many, the last at chance.

    Raises:
        CalibrationError: clean images are not told apart better than by chance; no levels.
    """
    clean = accuracy_at(0.0)
    if clean <= chance or levels < 1:
        raise CalibrationError(
            f"accuracy must be above chance, {chance:g}, not {clean:g}, and levels 1 or more"
        )
    found = []
    low = 0.0
    for level in range(1, levels + 1):
        aim = clean - (clean - chance) * level / levels
        high = strongest
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if accuracy_at(middle) > aim else (low, middle)
        found.append(high)
    return tuple(found)

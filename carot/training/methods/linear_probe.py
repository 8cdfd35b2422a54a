"""Linear probe: cross-entropy on a linear head, with both towers frozen.

L = CE(f(x) W', y), where only W trains. W starts as the zero-shot head (see
`carot.training.methods.head`), as in the linear classifiers of WiSE-FT (Wortsman et al., CVPR
2022), not at zero.
"""

from __future__ import annotations

from carot.training.methods.finetune import Finetune


class LinearProbe(Finetune):
    """Cross-entropy on the head alone."""

    trains_tower = False

"""Names for annotations: classes whose modules import torch, which only a type checker imports from
here."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charrnn.model.layer import RecurrentLayer as RecurrentLayer
    from charrnn.model.network import CharRNN as CharRNN
    from charrnn.model.network import Predictor as Predictor
else:
    CharRNN = Predictor = RecurrentLayer = Any

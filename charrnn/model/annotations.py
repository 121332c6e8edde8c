"""Names for annotations: classes whose modules import torch, which only a type checker imports from
here."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from charrnn.model.ensemble import TrainedNetwork as TrainedNetwork
    from charrnn.model.layer import RecurrentLayer as RecurrentLayer
    from charrnn.model.network import CharRNN as CharRNN
else:
    CharRNN = TrainedNetwork = RecurrentLayer = Any

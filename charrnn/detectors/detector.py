"""The module from which packages that offer detectors import `Detector`."""

from charrnn.detectors.registry import Detector as Detector

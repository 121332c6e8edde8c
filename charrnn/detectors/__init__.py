"""Detectors: functions that label every character of a text. Nothing here uses a model or torch."""

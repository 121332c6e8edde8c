"""What a cell might keep track of: functions that label every character of a text. No model, no torch."""

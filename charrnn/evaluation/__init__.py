"""Measure how well models predict a text.

`comparison` is the main line: it takes the text that models have in common, reads it for each of
them, and says what a reader must know. `loss_reports` has the results, and `seed_groups` groups
them. The loss of every character comes from `model.losses`.
"""

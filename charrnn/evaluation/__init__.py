"""Measure how well models predict a text.

`comparison` is the main line: `same_text` takes the text that models have in common, `measured`
reads it for each of them, `losses` computes the loss of every character, and `notes` says what a
reader must know. `loss_reports` has the results, and `seed_groups` groups them. `log_probability`
is the method `logprob`.
"""

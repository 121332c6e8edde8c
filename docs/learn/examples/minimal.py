"""The whole idea in one file: train an LSTM on the characters of a text, let it write, and look
into its best cell.

    python docs/learn/examples/minimal.py FILE

It needs only NumPy, and prints four things: the loss while the network learns to predict the next
character, a text that the network writes, the cell that follows quotations best (in a text without
them: the position in the line), and a passage coloured by that cell. `charrnn train`, `sample` and
`visualize` do the same, faster and with more choice; tests/docs/test_minimal.py compares the two on
equal weights.

Shapes: T characters of a window (time), B rows of the batch, V characters of the vocabulary, H
cells, N characters of a text. d_x is the gradient of the loss by x.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np

BATCH_SIZE, BPTT_LENGTH, HIDDEN_SIZE = 8, 32, 128  # B, T, H
# The learning rate of the first step; it falls to 0.
LEARNING_RATE = 1e-2
# The last tenth of the text is not trained on; so many of its characters are read afterwards.
MAX_HELD_OUT = 50_000
# Of the 256 colours of a terminal, for values from -1 to 1; and the same without colours.
RED_TO_BLUE = 203, 210, 217, 224, 231, 189, 147, 111, 69
LEVELS = "_.,-~=+*#"

Array, Random = np.ndarray, np.random.Generator
# W_x (V, 4H), W_h (H, 4H), b (4H,): gates in the order i, f, g, o; W_y (H, V), b_y (V,)
Weights = dict[str, Array]
# The output h (B, H) and the memory c (B, H) of every cell
State = tuple[Array, Array]


def draw_weights(vocab_size: int, hidden_size: int, random: Random) -> Weights:
    """Draw small weights. The forget gates start open (bias 1), so that the cells remember before
    they have learned."""
    shapes = {
        "W_x": (vocab_size, 4 * hidden_size),
        "W_h": (hidden_size, 4 * hidden_size),
        "b": 4 * hidden_size,
    }
    shapes |= {"W_y": (hidden_size, vocab_size), "b_y": vocab_size}
    weights = {
        name: np.float32(random.standard_normal(shape) / hidden_size**0.5)
        for name, shape in shapes.items()
    }
    weights["b"][hidden_size : 2 * hidden_size] += 1
    return weights


def initial_state(weights: Weights, batch_size: int) -> State:
    """Return the state before the first character of a text."""
    zeros = np.zeros((batch_size, len(weights["W_h"])), weights["W_h"].dtype)
    return zeros, zeros


def sigmoid(x: Array) -> Array:
    """Compute 1 / (1 + exp(-x)), without overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * x)


def read(weights: Weights, ids: Array, state: State) -> tuple[Array, Array, Array]:
    """Read the characters ids (T, B) from a state; return h (T+1, B, H), c (T+1, B, H) and the
    gates (T, 4, B, H).

    h[0] and c[0] are the state before the first character, h[t + 1] and c[t + 1] the state after
    character t.
    """
    h, c = (np.stack([start] * (len(ids) + 1)) for start in state)
    gates = np.empty((len(ids), 4, *h[0].shape), h.dtype)
    # (T, B, 4H): a one-hot vector times W_x is a row of W_x.
    inputs = weights["W_x"][ids] + weights["b"]
    for t in range(len(ids)):
        i, f, g, o = np.split(inputs[t] + h[t] @ weights["W_h"], 4, axis=1)
        i, f, g, o = gates[t] = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        # Keep a share f of the memory, add a share i of the new value g,
        c[t + 1] = f * c[t] + i * g
        # and show a share o of the memory to the rest of the network.
        h[t + 1] = o * np.tanh(c[t + 1])
    return h, c, gates


def predict(weights: Weights, h: Array, temperature: float = 1.0) -> Array:
    """Compute from outputs h (..., H) the probabilities (..., V) of the next character: a
    softmax."""
    logits = (h @ weights["W_y"] + weights["b_y"]) / temperature
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def losses_of(probabilities: Array, targets: Array) -> Array:
    """Compute the loss of each character in nats: -ln of the probability (..., V) that its target
    (...) was given."""
    return -np.log(np.take_along_axis(probabilities, targets[..., None], axis=-1))[..., 0]


def compute_gradients(
    weights: Weights, ids: Array, targets: Array, state: State
) -> tuple[float, Weights, State]:
    """Compute the mean loss of a window ids (T, B), its gradient by every weight, and the state
    after the window."""
    h, c, gates = read(weights, ids, state)
    probabilities = predict(weights, h[1:])
    # (V, V): a row for each character
    one_hot = np.eye(len(weights["W_x"]), dtype=h.dtype)
    # (T, B, V): the gradient of softmax and -ln together
    d_logits = (probabilities - one_hot[targets]) / targets.size
    # (T, B, 4H): the gradient by the gates before sigmoid and tanh
    d_gates = np.empty((*ids.shape, len(weights["b"])), h.dtype)
    d_h = d_c = np.zeros_like(h[0])
    # Back-propagation through time: the chain rule, from the last character to the first.
    for t in reversed(range(len(ids))):
        i, f, g, o = gates[t]
        tanh_c = np.tanh(c[t + 1])
        d_h = d_h + d_logits[t] @ weights["W_y"].T
        d_c = d_c + d_h * o * (1 - tanh_c**2)
        d_i, d_f, d_g, d_o = d_c * g, d_c * c[t], d_c * i, d_h * tanh_c
        d_gates[t] = np.hstack(
            [d_i * i * (1 - i), d_f * f * (1 - f), d_g * (1 - g**2), d_o * o * (1 - o)]
        )
        # To the character before, through the memory: a factor near 1 while the forget gate is open.
        d_c = d_c * f
        # To the character before, through the gates.
        d_h = d_gates[t] @ weights["W_h"].T
    # Every weight is used for all characters of the window: sum over T and B.
    axes = ((0, 1), (0, 1))
    gradient = {
        "W_x": np.tensordot(one_hot[ids], d_gates, axes),
        "W_h": np.tensordot(h[:-1], d_gates, axes),
        "b": d_gates.sum(axis=(0, 1)),
        "W_y": np.tensordot(h[1:], d_logits, axes),
        "b_y": d_logits.sum(axis=(0, 1)),
    }
    return losses_of(probabilities, targets).mean(), gradient, (h[-1], c[-1])


def clip(gradient: Weights, max_norm: float = 1.0) -> None:
    """Shorten the gradient, as one long vector, to `max_norm`: a single huge one must not ruin the
    weights."""
    norm = np.sqrt(sum((part**2).sum() for part in gradient.values()))
    for part in gradient.values():
        part *= min(1.0, max_norm / norm)


def update(
    weights: Weights, gradient: Weights, moments: Weights, num_steps: int, learning_rate: float
) -> None:
    """Change every weight against its gradient by about the learning rate: Adam (Kingma & Ba
    2015)."""
    beta1, beta2 = 0.9, 0.99
    for name, weight in weights.items():
        # Running means of the gradient and of its square, changed in place
        mean, square = moments[name]
        mean += (1 - beta1) * (gradient[name] - mean)
        square += (1 - beta2) * (gradient[name] ** 2 - square)
        # Both began at 0: correct for that.
        mean = mean / (1 - beta1**num_steps)
        square = square / (1 - beta2**num_steps)
        weight -= learning_rate * mean / (np.sqrt(square) + 1e-8)


def train(weights: Weights, ids: Array, num_steps: int) -> None:
    """Train on a text ids (N,) by truncated back-propagation through time, and print the loss.

    Each row of the batch reads its own part of the text from left to right. The state is carried
    from window to window, but the gradient ends where the window begins.
    """
    rows = ids[: len(ids) // BATCH_SIZE * BATCH_SIZE].reshape(BATCH_SIZE, -1).T  # (N / B, B)
    num_windows = (len(rows) - 1) // BPTT_LENGTH
    moments = {name: np.zeros((2, *weight.shape), weight.dtype) for name, weight in weights.items()}
    losses = []
    start = time.monotonic()
    for step in range(num_steps):
        # The window: each row reads on where it stopped, with its state.
        cursor = step % num_windows * BPTT_LENGTH
        if cursor == 0:
            state = initial_state(weights, BATCH_SIZE)
        window, targets = rows[cursor:][:BPTT_LENGTH], rows[cursor + 1 :][:BPTT_LENGTH]
        # The loss and its gradient, forward and backward
        loss, gradient, state = compute_gradients(weights, window, targets, state)
        clip(gradient)
        # The step, at a learning rate that falls to 0
        update(weights, gradient, moments, step + 1, LEARNING_RATE * (1 - step / num_steps))
        losses.append(loss)
        if (step + 1) % 100 == 0 or step + 1 == num_steps:
            seconds = time.monotonic() - start
            print(
                f"step {step + 1:,} of {num_steps:,}: {np.mean(losses[-100:]):.3f} nats per"
                f" character, {seconds:.0f} s of about {seconds * num_steps / (step + 1):.0f}",
                flush=True,
            )


def sample(
    weights: Weights, vocabulary: list[str], length: int, temperature: float, random: Random
) -> str:
    """Draw a text character by character, as if it followed a newline. A low temperature prefers
    likely characters."""
    text, state, character = "", initial_state(weights, 1), vocabulary.index("\n")
    for _ in range(length):
        h, c, _ = read(weights, np.array([[character]]), state)
        character = random.choice(len(vocabulary), p=predict(weights, h[-1, 0], temperature))
        text, state = text + vocabulary[character], (h[-1], c[-1])
    return text


def label_quotes(text: str) -> Array:
    """Label each character (N,): true inside double quotation marks, which a blank line closes at
    the latest."""
    labels, is_inside = [], False
    for before, character in zip(" " + text, text, strict=False):
        if character in '"“”':
            is_inside = character == "“" or (character == '"' and not is_inside)
        elif before == character == "\n":
            is_inside = False
        labels.append(is_inside)
    return np.array(labels)


def label_late_in_line(text: str) -> Array:
    """Label each character (N,): true where more of the line has been read than at half of all
    characters."""
    index = np.arange(len(text))
    position = index - np.maximum.accumulate(np.where(np.array([*text]) == "\n", index, -1))
    return position > np.median(position)


def varies(labels: Array) -> bool:
    """Return whether both halves of a text have characters with the label and without it."""
    half = len(labels) // 2
    return all(0 < part.mean() < 1 for part in (labels[:half], labels[half:]))


def auc(values: Array, labels: Array) -> Array:
    """Compute the area under the ROC curve of each column of values (N, C) for labels (N,).

    It is how often a character with the label has a larger value than one without it: 0.5 is
    chance.
    """
    ranks = values.argsort(axis=0).argsort(axis=0) + 1
    num_true = labels.sum()
    return (ranks[labels].mean(axis=0) - (num_true + 1) / 2) / (len(labels) - num_true)


def find_cell(memories: Array, labels: Array) -> tuple[int, float]:
    """Choose the best cell on the first half of a text; return it and its AUC on the second, where
    no luck chose it."""
    half = len(labels) // 2
    chosen_on = auc(memories[:half], labels[:half])
    cell = int(abs(chosen_on - 0.5).argmax())
    score = float(auc(memories[half:, [cell]], labels[half:])[0])
    # A cell may be low where the label is true.
    return cell, score if chosen_on[cell] > 0.5 else 1 - score


def show(text: str, values: Array, labels: Array, is_coloured: bool) -> None:
    """Print a text with values (N,) from -1 to 1: in colour with underlined labels, or as levels
    below each line."""
    places = np.rint(4 + 4 * values).astype(int)
    if is_coloured:
        for character, place, label in zip(text, places, labels, strict=True):
            style = f"\x1b[30;48;5;{RED_TO_BLUE[place]}{';4' if label else ''}m"
            print("\n" if character == "\n" else f"{style}{character}\x1b[0m", end="")
        print()
    else:
        levels = [
            "\n" if character == "\n" else LEVELS[place]
            for character, place in zip(text, places, strict=True)
        ]
        for line, line_levels in zip(text.split("\n"), "".join(levels).split("\n"), strict=True):
            print(line, line_levels, sep="\n")


def main() -> None:
    """Train on the beginning of a text; measure the loss and find the best cell at its end."""
    parser = argparse.ArgumentParser(
        description="Train an LSTM on a text, let it write, and look into its best cell."
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="a text in UTF-8")
    parser.add_argument(
        "--steps", type=int, default=3000, help="training steps (default: %(default)s)"
    )
    parser.add_argument(
        "--temperature", type=float, default=0.7, help="of the sample (default: %(default)s)"
    )
    options = parser.parse_args()
    if options.steps < 1 or options.temperature <= 0:
        parser.error("--steps must be at least 1, and --temperature above 0")
    text, random = options.file.read_text(encoding="utf-8"), np.random.default_rng(0)
    if len(text) < 10_000 or "\n" not in text:
        sys.exit(f"{options.file}: give a text of several lines and at least 10,000 characters.")

    vocabulary = sorted(set(text))
    number = {character: index for index, character in enumerate(vocabulary)}
    ids = np.array([number[character] for character in text])
    end = len(text) - len(text) // 10  # of the training text
    held_out, held_out_text = ids[end : end + MAX_HELD_OUT], text[end : end + MAX_HELD_OUT]
    weights, untrained = (draw_weights(len(vocabulary), HIDDEN_SIZE, random) for _ in range(2))
    print(
        f"Training an LSTM of {HIDDEN_SIZE} cells on {end:,} characters, {len(vocabulary)}"
        f" different: each of {options.steps:,} steps reads {BATCH_SIZE} x {BPTT_LENGTH}"
        f" characters.\nThe loss is the mean surprise per character; guessing at random has {np.log(len(vocabulary)):.2f}."
    )
    train(weights, ids[:end], options.steps)
    h, c, _ = read(weights, held_out[:, None], initial_state(weights, 1))
    outputs, memories = h[1:, 0], c[1:, 0]  # (N, H)
    loss = losses_of(predict(weights, outputs[:-1]), held_out[1:]).mean()
    print(f"The held-out text: {loss:.3f} nats per character.\n\nThe network writes:\n")
    print(sample(weights, vocabulary, 600, options.temperature, random), end="\n\n")

    name, labels, half = "inside quotations", label_quotes(held_out_text), len(held_out) // 2
    if not varies(labels):
        name, labels = "late in the line", label_late_in_line(held_out_text)
    if not varies(labels):
        sys.exit("The end of the text has neither quotations nor lines for a cell to follow.")
    cell, score = find_cell(memories, labels)
    _, baseline = find_cell(
        read(untrained, held_out[:, None], initial_state(untrained, 1))[1][1:, 0], labels
    )
    print(
        f"Cell {cell} follows '{name}': AUC {score:.3f}. The best cell of an untrained network:"
        f" {baseline:.3f}.\nIts memory over a passage, from red (lower than its mean) to blue (higher):\n"
    )
    begin = held_out_text.rfind("\n", 0, half + int(labels[half:].argmax())) + 1
    part = slice(begin, begin + 600)
    is_coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    values = memories[:, cell]
    values = np.tanh((values - values.mean()) / values.std())
    show(held_out_text[part], values[part], labels[part], is_coloured)


if __name__ == "__main__":
    main()

"""The whole idea in one file: train an LSTM on the characters of a text, let it write, and look
into its best cell.

    python docs/learn/examples/minimal.py FILE [STEPS]

It needs only NumPy, and prints four things: the loss while the network learns to predict the next
character, a text that the network writes, the cell that follows quotations best (in a text without
them: the position in the line), and a passage coloured by that cell. `charrnn train`, `sample` and
`visualize` do the same, faster and with more choice.

Shapes: T characters of a window (time), B rows of the batch, V characters of the vocabulary, H
cells, N characters of a text. d_x is the gradient of the loss by x.
"""

import sys
import time
from pathlib import Path

import numpy as np

BATCH_SIZE, BPTT_LENGTH, HIDDEN_SIZE = 8, 32, 128  # B, T, H
LEARNING_RATE = 1e-2  # of the first step; it falls to 0
TEMPERATURE = 0.7  # of the text that the network writes; low prefers likely characters
RED_TO_BLUE = 203, 210, 217, 224, 231, 189, 147, 111, 69  # colours of a terminal, from -1 to 1

Array, Random = np.ndarray, np.random.Generator
# W_x (V, 4H), W_h (H, 4H), b (4H,): gates in the order i, f, g, o; W_y (H, V), b_y (V,)
Weights = dict[str, Array]
State = tuple[Array, Array]  # the output h (B, H) and the memory c (B, H) of every cell


def draw_weights(vocab_size: int, hidden_size: int, random: Random) -> Weights:
    """Draw small weights. The forget gates start open (bias 1): at first, the cells remember."""
    V, H = vocab_size, hidden_size
    shapes = {"W_x": (V, 4 * H), "W_h": (H, 4 * H), "b": 4 * H, "W_y": (H, V), "b_y": V}
    weights = {}
    for name, shape in shapes.items():
        weights[name] = np.float32(random.standard_normal(shape) / H**0.5)
    weights["b"][H : 2 * H] += 1
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
    gates (T, 4, B, H). h[0] and c[0] are the state before the first character."""
    h, c = (np.stack([start] * (len(ids) + 1)) for start in state)
    gates = np.empty((len(ids), 4, *h[0].shape), h.dtype)
    inputs = weights["W_x"][ids] + weights["b"]  # a one-hot vector times W_x is a row of W_x
    for t in range(len(ids)):
        i, f, g, o = np.split(inputs[t] + h[t] @ weights["W_h"], 4, axis=1)
        i, f, g, o = gates[t] = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        # Keep a share f of the memory, add a share i of the new value g,
        c[t + 1] = f * c[t] + i * g
        # and show a share o of the memory to the rest of the network.
        h[t + 1] = o * np.tanh(c[t + 1])
    return h, c, gates


def predict(weights: Weights, h: Array, temperature: float = 1.0) -> Array:
    """Compute from outputs h (..., H) the probabilities (..., V) of the next character: softmax."""
    logits = (h @ weights["W_y"] + weights["b_y"]) / temperature
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def losses_of(probabilities: Array, targets: Array) -> Array:
    """Compute the loss of each character in nats: -ln of the probability of its target (...)."""
    return -np.log(np.take_along_axis(probabilities, targets[..., None], axis=-1))[..., 0]


def compute_gradients(
    weights: Weights, ids: Array, targets: Array, state: State
) -> tuple[float, Weights, State]:
    """Compute the mean loss of a window ids (T, B), its gradient, and the state after it."""
    h, c, gates = read(weights, ids, state)
    probabilities = predict(weights, h[1:])
    one_hot = np.eye(len(weights["W_x"]), dtype=h.dtype)  # (V, V): a row for each character
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
        slopes = [d_i * i * (1 - i), d_f * f * (1 - f), d_g * (1 - g**2), d_o * o * (1 - o)]
        d_gates[t] = np.hstack(slopes)
        # To the character before: by the memory (f is 1 if its gate is open) and by the gates
        d_c = d_c * f
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


def update(weights: Weights, gradient: Weights, moments: Weights, step: int, rate: float) -> None:
    """Change every weight against its gradient by about the rate: Adam (Kingma & Ba 2015)."""
    beta1, beta2 = 0.9, 0.99
    # The gradient, as one long vector, is shortened to 1: a huge one must not ruin the weights.
    norm = np.sqrt(sum((part**2).sum() for part in gradient.values()))
    for name, weight in weights.items():
        clipped = gradient[name] * min(1.0, 1 / norm)
        # Running means of the gradient and of its square, in place
        mean, square = moments[name]
        mean += (1 - beta1) * (clipped - mean)
        square += (1 - beta2) * (clipped**2 - square)
        # Both began at 0: correct for that.
        mean = mean / (1 - beta1**step)
        square = square / (1 - beta2**step)
        weight -= rate * mean / (np.sqrt(square) + 1e-8)


def train(weights: Weights, ids: Array, num_steps: int) -> None:
    """Train on a text ids (N,) by truncated back-propagation through time, and print the loss.

    Each row of the batch reads its own part of the text from left to right. The state is carried
    from window to window, but the gradient ends where the window begins.
    """
    rows = ids[: len(ids) // BATCH_SIZE * BATCH_SIZE].reshape(BATCH_SIZE, -1).T  # (N / B, B)
    num_windows = (len(rows) - 1) // BPTT_LENGTH
    moments = {name: np.zeros((2, *weight.shape), weight.dtype) for name, weight in weights.items()}
    losses, start = [], time.monotonic()
    for step in range(num_steps):
        # The window: each row reads on where it stopped, with its state.
        cursor = step % num_windows * BPTT_LENGTH
        if cursor == 0:
            state = initial_state(weights, BATCH_SIZE)
        window, targets = rows[cursor:][:BPTT_LENGTH], rows[cursor + 1 :][:BPTT_LENGTH]
        loss, gradient, state = compute_gradients(weights, window, targets, state)
        update(weights, gradient, moments, step + 1, LEARNING_RATE * (1 - step / num_steps))
        losses.append(loss)
        if (step + 1) % 100 == 0 or step + 1 == num_steps:
            nats, seconds = np.mean(losses[-100:]), time.monotonic() - start
            print(f"step {step + 1} of {num_steps}: {nats:.3f} nats per character, {seconds:.0f} s")


def sample(
    weights: Weights, vocabulary: list[str], length: int, temperature: float, random: Random
) -> str:
    """Draw a text character by character, as if it followed a newline."""
    text, state, character = "", initial_state(weights, 1), vocabulary.index("\n")
    for _ in range(length):
        h, c, _ = read(weights, np.array([[character]]), state)
        character = random.choice(len(vocabulary), p=predict(weights, h[-1, 0], temperature))
        text, state = text + vocabulary[character], (h[-1], c[-1])
    return text


def label_quotes(text: str) -> Array:
    """Label each character (N,): true inside quotation marks, which a blank line closes, too."""
    labels, is_inside = [], False
    for before, character in zip(" " + text, text, strict=False):
        if character in '"“”':
            is_inside = character == "“" or (character == '"' and not is_inside)
        elif before == character == "\n":
            is_inside = False
        labels.append(is_inside)
    return np.array(labels)


def label_late_in_line(text: str) -> Array:
    """Label each character (N,): true where its place in the line is above the median."""
    index = np.arange(len(text))
    position = index - np.maximum.accumulate(np.where(np.array([*text]) == "\n", index, -1))
    return position > np.median(position)


def auc(values: Array, labels: Array) -> Array:
    """Compute for each column of values (N, C) how often a character with the label (N,) has a
    larger value than one without it: the area under the ROC curve. 0.5 is chance."""
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
    return cell, score if chosen_on[cell] > 0.5 else 1 - score  # it may be low in quotations


def show(text: str, values: Array) -> None:
    """Print a text; on a terminal, each character has the colour of its value (N,)."""
    for character, place in zip(text, np.rint(4 + 4 * values).astype(int), strict=True):
        if sys.stdout.isatty() and character != "\n":
            character = f"\x1b[30;48;5;{RED_TO_BLUE[place]}m{character}\x1b[0m"
        print(character, end="")
    print()


def main(path: str, num_steps: int = 3000) -> None:
    """Train on the beginning of a text; measure the loss and find the best cell at its end."""
    text, random = Path(path).read_text(encoding="utf-8"), np.random.default_rng(0)
    vocabulary = sorted({"\n", *text})
    ids = np.array([vocabulary.index(character) for character in text])
    end = len(text) * 9 // 10  # of the training text
    held_out, held_out_text = ids[end:][:50_000], text[end:][:50_000]
    weights, untrained = (draw_weights(len(vocabulary), HIDDEN_SIZE, random) for _ in range(2))
    print(f"Guessing at random has a loss of {np.log(len(vocabulary)):.3f} nats per character.")
    train(weights, ids[:end], num_steps)

    h, c, _ = read(weights, held_out[:, None], initial_state(weights, 1))
    loss = losses_of(predict(weights, h[1:-1, 0]), held_out[1:]).mean()
    print(f"The held-out text: {loss:.3f} nats per character.\n\nThe network writes:\n")
    print(sample(weights, vocabulary, 600, TEMPERATURE, random), end="\n\n")

    name, labels, half = "inside quotations", label_quotes(held_out_text), len(held_out) // 2
    if not (labels[:half].any() and labels[half:].any()):
        name, labels = "late in the line", label_late_in_line(held_out_text)
    cell, score = find_cell(c[1:, 0], labels)
    _, c_untrained, _ = read(untrained, held_out[:, None], initial_state(untrained, 1))
    _, baseline = find_cell(c_untrained[1:, 0], labels)
    print(f"Cell {cell} follows '{name}': AUC {score:.3f}, an untrained one {baseline:.3f}.")
    print("Its memory, from red (below its mean) to blue (above it):\n")
    begin = held_out_text.rfind("\n", 0, half + int(labels[half:].argmax())) + 1
    values = c[1:, 0, cell]
    values = np.tanh((values - values.mean()) / values.std())
    show(held_out_text[begin:][:600], values[begin:][:600])


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.exit("Usage: python minimal.py FILE [STEPS], with a text of 10,000 characters or more")
    main(sys.argv[1], *map(int, sys.argv[2:]))

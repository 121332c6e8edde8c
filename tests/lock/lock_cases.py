"""The command lines of the behaviour lock, by group. Each group runs in a new laboratory, in this order."""

from __future__ import annotations

import laboratory
from locked import Case, parse_cases

_SMALL = "--hidden-size 12 --embedding-size 8 --set num_lanes=4 --set bptt_length=16 --device cpu --seed 1"

HELP = """
--version
--help
train --help
sample --help
predict --help
visualize --help
explore --help
write --help
evaluate --help
runs --help
sweep --help
export --help
corpora --help
corpora list --help
corpora fetch --help
corpora make --help
t train --help
t sample --help
train -h --json
"""

ERRORS = """
trian
--verison
train nosuch.txt
train empty.txt
train latin.txt --steps 1
train short.txt --split 1/1/99 --steps 1
train words.txt --steps 0
train words.txt --steps many
train words.txt --steps 5 --minutes 1
train words.txt --minutes nan
train words.txt --split half/half
train words.txt --cell lstn
train words.txt --depth dilated --layers 20
train words.txt --cell unitary --hidden-size 7
train words.txt --hidden-size wide
train words.txt --parameters 9k --hidden-size 7
train words.txt --set learning_rat=1
train words.txt --set learning_rate
train words.txt --recipe clasic
train words.txt --optimizer adm
train words.txt --dropout 1.5
train words.txt --documents file
train words.txt --column poem
train poems.csv --column verse --steps 1
train words.txt --init-from lstn --steps 1
train words.txt --extend-alphabet
train words.txt --device gpu
train words.txt --precision fp64
train words.txt --log nosuch
train words.txt --keep -1
train words.txt --out checkpoints/lstm --steps 1
train --resume nosuch
train --resume lstm --cell gru
train --resume lstm words.txt
train --resume
sample nosuch
sample checkpoints
sample chain --temp -1
sample chain --temp hot
sample chain --top-k 0
sample chain --top-p 2
sample chain --min-p 2
sample chain --length -1
sample chain --count 0
sample chain --prime Z
sample chain --prime a --prime-file short.txt
sample chain --prime-file nosuch.txt
sample chain --temps 0.2,x
sample chain --temps 0.2,1 --temp 1
sample chain --beam 0
sample chain --beam 4 --temp 1
sample chain --beam 4 --groups 3
sample chain --beam-mode wide --beam 2
sample chain --diversity 1
sample chain --length-penalty 1
sample chain --clamp 0:99=1
sample chain --clamp 0:1
sample chain --clamp quotes=high
sample chain --show-cell 3:1
sample chain --mix nosuch
sample chain --mix lstm --seed 1
sample chain --mix-mode product
sample chain --ban abcdefgZ --seed 1
sample chain --precision int4
sample chain --min-copy 5
sample chain --no-repeat 0
sample chain --unknown ignore --prime Z
sample loop --novelty --seed 1
predict
predict chain
predict lstm tarn --numbers
predict chain ab --top 0
visualize chain --cell 0:99
visualize chain --cell 1
visualize chain --detector quotes
visualize chain --detect (
visualize chain --detect mine.txt
visualize chain --find --describe
visualize chain --guesses
visualize chain --export a.doc
visualize chain --export nosuch/a.svg
visualize chain --columns 100
visualize chain --aspect 16:9
visualize chain --with loop
visualize chain --patch 0:1 --into a --from Z
visualize chain --patch 0:1 --from @99999999 --into a
visualize chain --ablate 7:7
visualize chain --same
visualize chain lstm
visualize chain --text nosuch.txt
visualize loop
visualize chain --chars 0
visualize chain@5
evaluate nosuch
evaluate chain --part test
evaluate chain --part both
evaluate chain --text empty.txt
evaluate chain --by line
evaluate chain --per-line --per-char
evaluate chain --export a.npz
evaluate chain --chars 0
evaluate loop
evaluate chain --mix chain=2
runs nosuch
runs --sort losss
runs --training
runs --against steps
runs --plot --against hours
runs --export a.svg
runs --csv --json
export chain
export chain a.doc
export nosuch a.zip
export old-bytes nosuch/a.zip
sweep words.txt --cell lstm,lstn --steps 1
sweep words.txt --seeds 0
sweep words.txt --steps 1 --jobs 0
corpora fetch nosuch
corpora make nosuch
corpora make anbn --seed -1
explore nosuch
write --run nosuch
write --until page
"""

SETTINGS = f"""
~ train words.txt --show-config --device cpu --precision fp32 --set threads=1
~ train words.txt --show-config --json --device cpu --precision fp32 --set threads=1 --recipe classic
train words.txt --show-config {_SMALL} --precision fp32 --recipe small.yaml --steps 5 --set threads=1
train poems.txt --show-config {_SMALL} --precision fp32 --documents lines --epochs 2 --set threads=1 --cell gru
"""

SAMPLES = (
    """
sample chain --seed 3 --length 60
sample chain --seed 3 --length 60 --temp 1.5
sample chain --seed 3 --length 60 --temp 0
sample chain --seed 3 --length 60 --temp 2 --top-k 3
sample chain --seed 3 --length 60 --temp 3 --top-p 0.9 --min-p 0.01
sample chain --seed 3 --length 60 --temp 3 --precision fp32
sample chain --seed 3 --length 40 --temps 0.5,2,3
sample chain --seed 3 --length 30 --count 3 --temp 3
~ sample chain --seed 3 --length 20 --count 2 --temp 3 --json
~ sample chain --seed 3 --length 20 --temps 0.5,3 --json
sample chain --seed 3 --length 40 --temp 3 --ban ag
sample chain --seed 3 --length 40 --temp 3 --stop fg
sample chain --seed 3 --length 40 --temp 3 --stop fg --keep-stop --prime abc
sample chain --seed 3 --length 60 --temp 3 --max-line 5
sample chain --seed 3 --length 40 --temp 3 --keep-stop
sample chain --seed 3 --length 40 --prime-file short.txt
sample chain --seed 3 --length 20 --prime-file - < short.txt
sample chain --seed 3 --length 20 --prime aZb --unknown skip
sample chain --seed 3 --length 20 --prime aZb --unknown nearest
sample chain --seed 3 --length 40 --temp 3 --mix loop=0.25 --mix-mode product
sample chain --seed 3 --length 40 --temp 3 --mix quoting=0.25
sample chain --seed 3 --length 40 --temp 3 --clamp 0:3=1
sample quoting --seed 3 --length 60 --temp 1 --clamp 0:5=1
sample quoting --seed 3 --length 40 --temp 1 --show-cell 0:5
t sample quoting --seed 3 --length 40 --temp 1 --show-cell 0:5
t sample chain --seed 3 --length 40 --temp 1
~ sample chain --seed 3 --length 300 --temp 2 --novelty --min-copy 20
~ sample chain --seed 3 --length 100 --temp 2 --novelty --min-copy 20 --json
sample poems --seed 3 --temp 2
sample poems --seed 3 --temp 2 --count 3 --length 20
~ sample poems --seed 3 --temp 2 --count 3 --json
sample chain --beam 4 --length 20
~ sample chain --beam 4 --length 20 --count 3 --json
sample chain --beam 4 --length 12 --beam-mode diverse --groups 2 --count 4
sample chain --beam 3 --length 12 --beam-mode stochastic --seed 5 --count 3
sample chain --beam 4 --length 20 --stop fg --length-penalty 1
sample chain --beam 3 --length 20 --no-repeat 2 --ban g
sample loop --seed 1 --length 80
sample old-lstm --seed 1 --length 60 --prime vask
sample old-lstm --temp 0 --length 60 --prime vask
sample old-bytes --temp 0 --length 40 --prime vask
sample old-gru --temp 0 --length 60 --prime vask
sample old-gru --beam 4 --length 20 --prime vask
~ sample chain --seed 3 --length 30 --temp 2 --adapt part.txt
predict chain ab
~ predict chain abc --top 3 --json
~ predict old-gru vask --numbers
~ predict old-bytes va --numbers --json
predict quoting "aZ" --unknown skip
"""
    + "".join(f"sample {run} --seed 5 --length 80 --prime tarn\n" for run in (*laboratory.CELLS, *laboratory.DEPTHS))
    + "".join(f"sample {run} --beam 3 --length 16 --prime ab\n" for run in ("gru", "unitary", "grid"))
)

VISUALIZE = """
~ visualize quoting
t~ visualize quoting --top 1
~ visualize quoting --find --json
~ visualize quoting --find
~ visualize quoting --find --detector quote --detector word-position
~ visualize quoting --describe --top 5
~ visualize quoting --describe --json --top 5
! visualize quoting --cell 0:5 --chars 200
!t visualize quoting --cell 0:5 --chars 120
~ visualize quoting --cell 0:5 --cell 0:1 --chars 60 --json
! visualize quoting --cell 0:5 --chars 80 --sparkline
~ visualize quoting --cell 0:5 --chars 60 --guesses
~ visualize quoting --find --detect [xyz] --detect mine.py --detector quote
~ visualize lstm --gates
~ visualize lstm --gates --json
~ visualize quoting --gradients
! visualize quoting --gradients --with chain --json
~ visualize lstm --spectrum
~ visualize quoting --spectrum --with rnn --json
~ visualize quoting --ablate 0:5
! visualize quoting --ablate 0:5 --ablate quote@2 --json
~ visualize quoting --ablate 0:5 --json
~ visualize quoting --patch 0:5 --from “xy --into abc
~ visualize quoting --patch 0 --from “xy --into abc --json
~ visualize quoting --history --detector quote
~ visualize quoting --history --detector quote --json
~ visualize lstm gru --same
~ visualize quoting quoting --same --json
~ visualize quoting --surprise --chars 120
~ visualize quoting --surprise --chars 60 --json
~ visualize quoting --text short.txt --cell 0:1
~ visualize quoting --cell 0:5 --text - --chars 60 < short.txt
~ visualize quoting --cell 0:5 --chars 300 --export cell.html
~ visualize quoting --cell 0:5 --chars 300 --export cell.svg --columns 60
~ visualize quoting --cell 0:5 --chars 300 --export cell.txt
~ visualize quoting --cell 0:5 --chars 60 --export cell.json
! visualize quoting --cell 0:5 --chars 300 --export cell.npz
! visualize quoting --cell 0:5 --chars 300 --export cell.png
~ visualize quoting --find --detector quote --export found.html
~ visualize quoting --top 1 --detector quote --export found.svg --aspect 16:9 --font-size 16
~ visualize quoting --surprise --chars 200 --export surprise.svg
~ visualize lstm --gates --export gates.svg
! visualize quoting --gradients --export gradients.html
! visualize quoting --export all.npz
! visualize lstm --find
! visualize lstm --describe --top 5
! visualize gru --ablate 1:3
! visualize old-lstm --cell 0:3 --chars 200
"""

EVALUATE = """
~ evaluate chain
~ evaluate chain --json
~ evaluate lstm gru --chars 1100
~ evaluate chain lstm --text part.txt
~ evaluate old-lstm --text synthetic.txt
~ evaluate old-bytes --text synthetic.txt --precision fp32 --json
~ evaluate lstm gru highway --chars 1001 --json
~ evaluate chain --ngrams --chars 600
~ evaluate chain --ngrams --json --chars 600
~ evaluate chain --dynamic --chars 300
~ evaluate lstm --errors --chars 300
~ evaluate lstm gru --errors --chars 300 --json
~ evaluate quoting --long-range
~ evaluate quoting --long-range --json
~ evaluate chain --by position --by class
~ evaluate chain --by class --json
~ evaluate chain --per-line --text short.txt
t~ evaluate chain --per-line
~ evaluate chain --per-char --text short.txt
~ evaluate lstm --mix gru --chars 300
~ evaluate lstm --mix gru=0.3 --mix rnn=0.2 --mix-mode product --json --chars 300
~ evaluate chain --export losses.html
~ evaluate chain --export losses.svg
~ evaluate chain --by class --export losses.txt
~ evaluate chain --export losses.json
~ evaluate poems --text poems.txt --chars 600
! evaluate mlstm grid unitary --chars 600 --json
"""

RUNS = """
runs
runs --json
runs --csv
t runs
runs --sort loss
runs --sort units chain quoting lstm
runs --plot
runs --plot --against seconds --training
runs --plot chain quoting --json
runs --plot --export curves.svg
runs --plot --export curves.html
runs --plot --export curves.txt
export chain chain.zip
export chain ./chain.zip
export chain chain.zip --force --json
~ sample chain.zip --seed 3 --length 20 --json
~ evaluate chain.zip --text short.txt
~ visualize chain.zip --cell 0:1 --text short.txt
export old-gru gru.zip
~ export lstm lstm.onnx
! export unitary unitary.onnx --json
! export grid grid.onnx
! export mlstm mlstm.onnx
export gru gru.html
export old-bytes bytes.html
corpora list
corpora list --json
corpora make anbn --out anbn.txt
corpora make dyck --seed 1
"""

TRAIN = f"""
~ train words.txt {_SMALL} --precision fp32 --steps 2 --json --out portable
"""

_TINY = f"{_SMALL} --precision fp32 --steps 6 --evaluate-every 3"
_TRAINED = [
    *(f"train words.txt {_TINY} --cell {cell} --out cell-{cell}" for cell in laboratory.CELLS),
    *(f"train words.txt {_TINY} --layers 2 --depth {depth} --out depth-{depth}" for depth in laboratory.DEPTHS),
    *(f"train words.txt {_TINY} --optimizer {name} --out optimizer-{name}" for name in ("adamw", "rmsprop", "sgd")),
    f"train words.txt {_SMALL} --precision bf16 --steps 6 --out bf16",
    f"train words.txt {_TINY} --dropout 0.3 --layers 2 --cell gru --set zoneout=0.1 --set weight_drop=0.2 --out noise",
    f"train words.txt {_TINY} --embedding-size one-hot --set omega=0.1 --set initial_state=learned --out one-hot",
    f"train words.txt {_TINY} --alphabet byte --set weight_average=0 --split 80/10/10 --out bytes",
    f"train latin.txt odd.txt {_TINY} --alphabet exact --encoding latin-1 --out exact",
    f"train poems.txt {_TINY} --documents lines --out lines",
    f"train poems.csv {_TINY} --column poem --out column",
    f"train words.txt {_TINY} --cell rnn --sync-every 2 --processes 2 --out processes",
    f"train words.txt {_TINY} --processes 2 --quiet --out processes-every-step",
    f"train words.txt {_TINY} --save-every 2 --keep 5 --out interrupted",
    "train --resume interrupted --steps 9",
    f"train words.txt {_TINY} --init-from cell-gru --out continued",
    f"train odd.txt {_TINY} --init-from cell-gru --extend-alphabet --out extended",
    "train words.txt --recipe tiny --steps 3 --device cpu --precision fp32 --set threads=1 --json --out tiny",
    "train words.txt --parameters 20k --steps 3 --device cpu --precision fp32 --set threads=1 --quiet --out parameters",
    f"sweep words.txt {_SMALL} --precision fp32 --steps 3 --cell lstm,gru --seeds 2 --out swept",
    f"sweep words.txt {_SMALL} --precision fp32 --steps 3 --cell lstm,gru --seeds 2 --csv --out swept",
    "sample cell-lstm --seed 4 --length 100",
    "sample cell-lstm --seed 4 --length 100 --precision fp32 --json",
    "sample cell-lstm --adapt words.txt --seed 4 --length 60",
    "evaluate cell-lstm cell-gru bytes --json",
    "evaluate cell-lstm --dynamic --chars 500",
    "visualize cell-lstm --find",
    "visualize interrupted --history",
    "runs",
    "export cell-mlstm cell.zip",
]

GROUPS: dict[str, list[Case]] = {
    "help": parse_cases(HELP),
    "errors": parse_cases(ERRORS),
    "settings": parse_cases(SETTINGS),
    "samples": parse_cases(SAMPLES),
    "visualize": parse_cases(VISUALIZE),
    "evaluate": parse_cases(EVALUATE),
    "runs": parse_cases(RUNS),
    "train": parse_cases(TRAIN),
    "trained": [Case(case.arguments, "!", case.stdin) for case in parse_cases("\n".join(_TRAINED))],
}
PORTABLE = [name for name, cases in GROUPS.items() if any("!" not in case.marks for case in cases)]

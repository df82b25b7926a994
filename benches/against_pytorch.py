#!/usr/bin/env python3
"""Limbeck against PyTorch on the same training steps, both in fp32 on the same threads.

    cargo build --release
    python benches/against_pytorch.py                                   # the whole list
    python benches/against_pytorch.py --only resnet-20 --rounds 7 --layout nchw

Each pair is measured in rounds that alternate (Limbeck, PyTorch, Limbeck, PyTorch, ...), so that what else the machine does meets
both alike. Printed are the ratios of the medians over the rounds, Limbeck / PyTorch: below 1 Limbeck is faster. Run it on a machine
that does nothing else. Needs `pip install torch`; nothing else is compared, and no weights are read.

PyTorch runs with glibc's allocator told to keep freed memory, without which it maps and clears its activations anew at every step; what
users get who set nothing is measured with `--allocator default`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))

# (teacher, student, method, batch, classes, channels, size)
PAIRS = [
    ("resnet-20", "resnet-20", "none", 64, 100, 3, 32),
    ("resnet-56", "resnet-20", "kd", 64, 100, 3, 32),
    ("wrn-40-2", "wrn-16-2", "kd", 64, 100, 3, 32),
    ("resnet-32x4", "resnet-8x4", "kd", 64, 100, 3, 32),
    ("vgg-13", "vgg-8", "kd", 64, 100, 3, 32),
    ("mobilenet-v2", "mobilenet-v2", "none", 64, 100, 3, 32),
    ("shufflenet-v2", "shufflenet-v2", "none", 64, 100, 3, 32),
    ("mlp-1200-1200", "mlp-1200-1200", "none", 128, 10, 1, 28),
]


# The largest threshold that glibc takes.
KEPT_MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(32 << 20), "MALLOC_TRIM_THRESHOLD_": str(8 << 30), "MALLOC_TOP_PAD_": str(64 << 20)}


def run(command, environment=None):
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(environment or {})})
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)


def printed(limbeck, architecture, classes, shape, folder):
    path = os.path.join(folder, f"{architecture}.json")
    command = [limbeck, "inspect", architecture, "--classes", str(classes), "--input", shape, "--json"]
    with open(path, "w") as file:
        json.dump(run(command), file)
    return path


def measure(options, pair, folder):
    teacher, student, method, batch, classes, channels, size = pair
    shape = f"{channels}x{size}x{size}"
    common = ["--method", method, "--batch", str(batch), "--classes", str(classes), "--channels", str(channels)]
    common += ["--size", str(size), "--steps", str(options.steps), "--threads", str(options.threads)]
    ours = [options.limbeck, "bench", "step", "--teacher", teacher, "--student", student, *common, "--json"]
    files = [printed(options.limbeck, network, classes, shape, folder) for network in (teacher, student)]
    peer = [options.python, os.path.join(HERE, "torch_peer.py"), "--teacher", files[0], "--student", files[1], *common]
    peer += ["--layout", options.layout]
    environment = KEPT_MEMORY if options.allocator == "tuned" else {}
    rounds = [(run(ours), run(peer, environment)) for _ in range(options.rounds)]
    result = {"teacher": teacher, "student": student, "method": method, "batch": batch, "size": size}
    for key in ("step_ms", "teacher_forward_ms", "student_forward_ms"):
        medians = [statistics.median(side[key]["median"] for side in sides) for sides in zip(*rounds)]
        result[key] = {"limbeck": medians[0], "pytorch": medians[1], "ratio": medians[0] / medians[1]}
    peaks = [max(side["peak_rss_mib"] for side in sides) for sides in zip(*rounds)]
    result["peak_rss_mib"] = {"limbeck": peaks[0], "pytorch": peaks[1], "ratio": peaks[0] / peaks[1]}
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limbeck", default=os.path.join(HERE, "..", "target", "release", "limbeck"))
    parser.add_argument("--python", default=sys.executable, help="an interpreter with torch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layout", choices=["nchw", "channels_last"], default="channels_last")
    parser.add_argument("--allocator", choices=["tuned", "default"], default="tuned", help="PyTorch's")
    parser.add_argument("--only", help="pairs whose student has this name")
    parser.add_argument("--json", action="store_true", help="one JSON document per pair")
    options = parser.parse_args()
    if not options.json:
        print(f"ratios limbeck / pytorch ({options.layout}), medians of {options.rounds} rounds")
        print(f"{'work':48} {'step':>22} {'teacher forward':>22} {'student forward':>22} {'peak MiB':>18}")
    with tempfile.TemporaryDirectory() as folder:
        for pair in PAIRS:
            if options.only and options.only != pair[1]:
                continue
            result = measure(options, pair, folder)
            if options.json:
                print(json.dumps(result), flush=True)
                continue
            cells = []
            for key in ("step_ms", "teacher_forward_ms", "student_forward_ms", "peak_rss_mib"):
                value = result[key]
                cells.append(f"{value['limbeck']:.1f}/{value['pytorch']:.1f} = {value['ratio']:.2f}")
            name = f"{pair[0]} -> {pair[1]}, {pair[2]}, batch {pair[3]}, {pair[6]} px"
            print(f"{name:48} {cells[0]:>22} {cells[1]:>22} {cells[2]:>22} {cells[3]:>18}", flush=True)


if __name__ == "__main__":
    main()

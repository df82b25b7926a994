#!/usr/bin/env python3
"""How the time of a training step grows with the batch and the image, and what bf16 saves a teacher.

    cargo build --release
    python benches/growth.py                 # resnet-20: batches 16 to 512 at 32 pixels, then 32 to 96 pixels
    python benches/growth.py --precision     # teachers in bf16 against fp32

Time per multiply-add should be flat: a step of a network counts three times the multiply-adds of its forward pass. Rounds go through all
settings in turn; printed are medians over the rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SIZES = [(16, 32), (32, 32), (64, 32), (128, 32), (256, 32), (512, 32), (16, 48), (16, 64), (16, 96)]
TEACHERS = ["resnet-20", "resnet-56", "resnet-110", "wrn-40-2", "resnet-32x4", "vgg-13", "mlp-1200-1200"]


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)


def growth(options):
    counts, steps, forwards = {}, {}, {}
    for _ in range(options.rounds):
        for batch, size in SIZES:
            if (batch, size) not in counts:
                command = [options.limbeck, "inspect", options.network, "--classes", "100", "--input", f"3x{size}x{size}"]
                counts[batch, size] = run([*command, "--json"])["multiply_adds"] * batch
            command = [options.limbeck, "bench", "step", "--teacher", "resnet-8", "--student", options.network]
            command += ["--method", "none", "--batch", str(batch), "--size", str(size), "--steps", str(options.steps)]
            timing = run([*command, "--threads", str(options.threads), "--json"])
            steps.setdefault((batch, size), []).append(timing["step_ms"]["median"])
            forwards.setdefault((batch, size), []).append(timing["student_forward_ms"]["median"])
    print(f"{'batch':>6} {'pixels':>6} {'step ms':>9} {'ps/multiply-add':>16} {'forward ms':>11} {'ps/multiply-add':>16}")
    spread = {"step": [], "forward": []}
    for key, count in counts.items():
        step, forward = statistics.median(steps[key]), statistics.median(forwards[key])
        spread["step"].append(step / count / 3)
        spread["forward"].append(forward / count)
        print(f"{key[0]:>6} {key[1]:>6} {step:>9.1f} {step / count / 3 * 1e9:>16.2f} {forward:>11.1f} {forward / count * 1e9:>16.2f}")
    for what, values in spread.items():
        print(f"{what}: the slowest setting takes {max(values) / min(values):.2f} times the fastest per multiply-add")


def precision(options):
    for teacher in [options.network] if options.network != "resnet-20" else TEACHERS:
        times = {"fp32": [], "bf16": []}
        for _ in range(options.rounds):
            for name, medians in times.items():
                command = [options.limbeck, "bench", "step", "--teacher", teacher, "--student", "resnet-8", "--method", "none"]
                command += ["--precision", name, "--steps", str(options.steps), "--threads", str(options.threads), "--json"]
                medians.append(run(command)["teacher_forward_ms"]["median"])
        single, brain = (statistics.median(medians) for medians in times.values())
        print(f"{teacher:16} fp32 {single:7.1f} ms  bf16 {brain:7.1f} ms  ratio {brain / single:.2f}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limbeck", default=os.path.join(HERE, "..", "target", "release", "limbeck"))
    parser.add_argument("--network", default="resnet-20")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", action="store_true", help="time teachers in bf16 and fp32")
    options = parser.parse_args()
    if options.precision:
        precision(options)
    else:
        growth(options)


if __name__ == "__main__":
    main()

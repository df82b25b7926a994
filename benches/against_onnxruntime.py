#!/usr/bin/env python3
"""The forward pass of a teacher in Limbeck against ONNX Runtime on the same network, both in fp32 on the same threads.

    cargo build --release
    pip install onnx onnxruntime
    python benches/against_onnxruntime.py                      # the whole list
    python benches/against_onnxruntime.py --only resnet-56 --rounds 7

The network is written as an ONNX file from what `limbeck inspect ARCH --json` prints, and run with all of ONNX Runtime's
optimisations. Rounds alternate (Limbeck, ONNX Runtime, Limbeck, ...); printed are the ratios of the medians. Weights are random: only the
time counts.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TEACHERS = ["resnet-20", "resnet-56", "wrn-40-2", "resnet-32x4", "vgg-13", "mobilenet-v2"]


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stderr}")
    return json.loads(done.stdout)


def nodes_of(node, weights):
    """The ONNX nodes of one node of the graph; adds its weights."""
    import numpy
    from onnx import helper, numpy_helper

    name, op, inputs = node["name"], node["op"], list(node["inputs"])
    random = numpy.random.default_rng(len(weights))

    def weight(role, *shape, low=-0.05, high=0.05):
        values = random.uniform(low, high, shape).astype(numpy.float32)
        weights.append(numpy_helper.from_array(values, f"{name}/{role}"))
        return f"{name}/{role}"

    def made(kind, *more, **attributes):
        return [helper.make_node(kind, inputs + list(more), [name], name, **attributes)]

    kind = op["kind"]
    if kind == "conv2d":
        (top, bottom), (left, right) = op["padding"]
        more = [weight("weight", op["out_channels"], op["in_channels"] // op["groups"], *op["kernel"])]
        more += [weight("bias", op["out_channels"])] if op["bias"] else []
        return made(
            "Conv", *more, kernel_shape=op["kernel"], strides=op["stride"], pads=[top, left, bottom, right],
            dilations=op["dilation"], group=op["groups"],
        )
    if kind == "batch_norm":
        count = op["channels"]
        more = [weight("gamma", count, low=0.5, high=1.5), weight("beta", count), weight("mean", count)]
        return made("BatchNormalization", *more, weight("variance", count, low=0.5, high=1.5), epsilon=op["epsilon"])
    if kind == "linear":
        more = [weight("weight", op["outputs"], op["inputs"])] + ([weight("bias", op["outputs"])] if op["bias"] else [])
        return made("Gemm", *more, transB=1)
    if kind == "activation":
        if op["function"] == "relu6":
            zero, six = weight("zero", low=0, high=0), weight("six", low=6, high=6)
            return made("Clip", zero, six)
        return made({"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "identity": "Identity"}[op["function"]])
    if kind in ("max_pool2d", "avg_pool2d"):
        pads = [op["padding"][0], op["padding"][1]] * 2
        kind = "MaxPool" if kind == "max_pool2d" else "AveragePool"
        return made(kind, kernel_shape=op["kernel"], strides=op["stride"], pads=pads, ceil_mode=int(op["ceil"]))
    if kind == "dropout":
        return made("Identity")
    return made({"global_avg_pool": "GlobalAveragePool", "flatten": "Flatten", "add": "Add"}[kind])


def write(graph, shape, path):
    from onnx import TensorProto, checker, helper, save

    weights, nodes = [], []
    for node in graph["nodes"]:
        nodes += nodes_of(node, weights)
    value = helper.make_tensor_value_info
    inputs = [value(graph["inputs"][0]["name"], TensorProto.FLOAT, ["batch", *shape])]
    outputs = [value(graph["outputs"][0], TensorProto.FLOAT, ["batch", None])]
    made = helper.make_graph(nodes, "network", inputs, outputs, weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    save(model, path)


def peer(options):
    """Times the file `options.peer` in this process."""
    import numpy
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = options.threads
    session = onnxruntime.InferenceSession(options.peer, settings, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    shape = [options.batch, *given.shape[1:]]
    images = numpy.random.default_rng(0).standard_normal(shape).astype(numpy.float32)
    times = []
    for index in range(options.steps + 4):
        begun = time.perf_counter()
        session.run(None, {given.name: images})
        if index >= 4:
            times.append((time.perf_counter() - begun) * 1e3)
    print(json.dumps({"median": statistics.median(times), "min": min(times), "max": max(times)}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limbeck", default=os.path.join(HERE, "..", "target", "release", "limbeck"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", help="one network")
    parser.add_argument("--peer", metavar="FILE", help="time ONNX Runtime alone on this file")
    options = parser.parse_args()
    if options.peer:
        return peer(options)
    print(f"forward pass, batch {options.batch}, ms, medians of {options.rounds} rounds")
    with tempfile.TemporaryDirectory() as folder:
        for teacher in [options.only] if options.only else TEACHERS:
            path = os.path.join(folder, f"{teacher}.onnx")
            printed = run([options.limbeck, "inspect", teacher, "--classes", "100", "--input", "3x32x32", "--json"])
            write(printed["graph"], [3, 32, 32], path)
            common = ["--batch", str(options.batch), "--steps", str(options.steps), "--threads", str(options.threads)]
            ours = [options.limbeck, "bench", "step", "--teacher", teacher, "--student", "resnet-8", "--method", "none"]
            theirs = [sys.executable, os.path.abspath(__file__), "--peer", path]
            rounds = [
                (run([*ours, *common, "--json"])["teacher_forward_ms"]["median"], run([*theirs, *common])["median"])
                for _ in range(options.rounds)
            ]
            limbeck, onnxruntime = (statistics.median(side) for side in zip(*rounds))
            print(f"{teacher:16} limbeck {limbeck:7.1f}  onnxruntime {onnxruntime:7.1f}  ratio {limbeck / onnxruntime:.2f}", flush=True)


if __name__ == "__main__":
    main()

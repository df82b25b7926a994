#!/usr/bin/env python3
"""The work of `limbeck bench step`, done by PyTorch: the peer of `against_pytorch.py`.

Reads the networks as `limbeck inspect ARCH --classes N --input CxHxW --json` prints them, so that both sides compute the same
layers, and builds each from PyTorch's own modules. One step is what a distillation loop does: the teacher forward without
gradient, the student forward and backward, SGD with Nesterov momentum 0.9 and weight decay 5e-4, in fp32, on random inputs that are
in memory already. Weights are random: only the time counts. Needs `pip install torch`.
"""

import argparse
import json
import resource
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F


class Lambda(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *values):
        return self.function(*values)


def convolution(op):
    (top, bottom), (left, right) = op["padding"]
    assert (top, left) == (bottom, right), "PyTorch pads both sides alike"
    return nn.Conv2d(
        op["in_channels"], op["out_channels"], op["kernel"], op["stride"], [top, left],
        op["dilation"], op["groups"], op["bias"],
    )


ACTIVATIONS = {"relu": nn.ReLU, "relu6": nn.ReLU6, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "identity": nn.Identity}


def add(*values):
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def shuffle(groups):
    def run(x):
        batch, channels, height, width = x.shape
        return x.view(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)

    return run


def module(op):
    """The module for one operator of the graph."""
    kind = op["kind"]
    if kind == "conv2d":
        return convolution(op)
    if kind == "batch_norm":
        return nn.BatchNorm2d(op["channels"], op["epsilon"], op["momentum"])
    if kind == "linear":
        return nn.Linear(op["inputs"], op["outputs"], op["bias"])
    if kind == "activation":
        # In place, as the usual model definitions have it, would change a value that a shortcut still needs.
        return ACTIVATIONS[op["function"]]()
    if kind == "max_pool2d":
        return nn.MaxPool2d(op["kernel"], op["stride"], op["padding"], ceil_mode=op["ceil"])
    if kind == "avg_pool2d":
        return nn.AvgPool2d(op["kernel"], op["stride"], op["padding"], op["ceil"], op["count_include_pad"])
    if kind == "dropout":
        return nn.Dropout(op["rate"])
    functions = {
        "global_avg_pool": lambda x: x.mean((2, 3), keepdim=True),
        "flatten": lambda x: x.flatten(1),
        "add": add,
        "concatenate": lambda *values: torch.cat(values, op.get("axis")),
        "split": lambda x: torch.split(x, op["sizes"], op["axis"]),
        "channel_shuffle": shuffle(op.get("groups")),
        "reshape": lambda x: x.reshape(x.shape[0], *op["sizes"]),
    }
    return Lambda(functions[kind])


class Network(nn.Module):
    def __init__(self, graph):
        super().__init__()
        self.steps, self.nodes = [], nn.ModuleList()
        self.input, (self.output,) = graph["inputs"][0]["name"], graph["outputs"]
        for node in graph["nodes"]:
            split = node["op"]["kind"] == "split"
            outputs = [f"{node['name']}:{i}" for i in range(len(node["op"]["sizes"]))] if split else [node["name"]]
            self.steps.append((node["inputs"], outputs))
            self.nodes.append(module(node["op"]))

    def forward(self, x):
        values = {self.input: x}
        for (inputs, outputs), node in zip(self.steps, self.nodes):
            result = node(*(values[name] for name in inputs))
            values.update(zip(outputs, result if len(outputs) > 1 else [result]))
        return values[self.output]


def distillation_loss(student, teacher, temperature):
    log_q = F.log_softmax(student / temperature, 1)
    p = F.softmax(teacher / temperature, 1)
    return F.kl_div(log_q, p, reduction="batchmean") * temperature**2


def network(path):
    with open(path) as file:
        return Network(json.load(file)["graph"])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--teacher", required=True, help="file with the printed teacher")
    parser.add_argument("--student", required=True, help="file with the printed student")
    parser.add_argument("--method", choices=["none", "kd"], default="kd")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--warmup", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--layout", choices=["nchw", "channels_last"], default="channels_last")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    layout = torch.channels_last if options.layout == "channels_last" else torch.contiguous_format
    teacher = network(options.teacher).to(memory_format=layout).eval().requires_grad_(False)
    student = network(options.student).to(memory_format=layout).train()
    images = torch.randn(options.batch, options.channels, options.size, options.size).contiguous(memory_format=layout)
    labels = torch.randint(0, options.classes, (options.batch,))
    optimizer = torch.optim.SGD(student.parameters(), lr=1e-3, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def step():
        logits = student(images)
        loss = F.cross_entropy(logits, labels)
        if options.method == "kd":
            with torch.no_grad():
                target = teacher(images)
            loss = 0.1 * loss + 0.9 * distillation_loss(logits, target, 4.0)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()

    def timed(work):
        for _ in range(options.warmup):
            work()
        times = []
        for _ in range(options.steps):
            begun = time.perf_counter()
            work()
            times.append((time.perf_counter() - begun) * 1e3)
        return {"median": statistics.median(times), "min": min(times), "max": max(times)}

    def forward(model):
        with torch.no_grad():
            model(images)

    result = {"peer": f"pytorch {torch.__version__}", "step_ms": timed(step)}
    result["teacher_forward_ms"] = timed(lambda: forward(teacher))
    student.eval()
    result["student_forward_ms"] = timed(lambda: forward(student))
    result["peak_rss_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps(result))


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Writes the small ONNX models of this folder, each with its inputs and outputs beside it.

    pip install torch onnx onnxscript safetensors && python make.py

`NAME.safetensors` holds three examples: the inputs under the model's names, and `logits`, what PyTorch gives for them in
evaluation mode (for the graphs made by hand: onnx.reference).

    *-ts, *-opsetN            the TorchScript exporter, operator set 17 or N
    *-dynamo, *-dynamo23      the exporter on torch.export, operator set 20 or 23
    *-kept                    TorchScript, in training form and without constant folding
    hand-*                    made node by node
    external/*                weights in a file of their own

Written with torch 2.15, onnx 1.23, onnxscript 0.7 and safetensors 0.8 on Python 3.11; with these, two runs on one machine
give the same bytes. Stack traces and the shapes of intermediate values are left out.
"""

import io
import operator
import warnings
import zlib
from pathlib import Path

import onnx
import torch
import torch.nn.functional as F
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import save_file
from torch import nn

HERE = Path(__file__).parent
EXAMPLES = 3
VOCABULARY = 12


class Each(nn.Module):
    """The output of a first layer through every layer of a list and every function; the results side by side."""

    def __init__(self, first, layers=(), functions=lambda x, weight: [], weight=(1,)):
        super().__init__()
        self.first, self.layers, self.functions = first, nn.ModuleList(layers), functions
        self.weight = nn.Parameter(torch.randn(weight))

    def forward(self, input):
        x = self.first(input)
        results = [layer(x) for layer in self.layers] + self.functions(x, self.weight)
        return torch.cat([result.flatten(1) for result in results], 1)


class Combined(nn.Sequential):
    """A function of the input and of what the layers make of it."""

    def __init__(self, combine, *layers):
        super().__init__(*layers)
        self.combine = combine

    def forward(self, input):
        return self.combine(input, super().forward(input))


def activations():
    layers = [nn.PReLU(2), nn.PReLU(), nn.ELU(0.7), nn.SELU(), nn.CELU(1.3), nn.Mish(), nn.Softplus(), nn.Softsign(), nn.ReLU6()]
    layers += [nn.Softplus(2.0), nn.Hardswish(), nn.Hardsigmoid(), nn.Hardtanh(-0.5, 0.8), nn.GELU(), nn.GELU("tanh"), nn.SiLU()]
    layers += [nn.LeakyReLU(0.2), nn.LogSoftmax(-1), nn.Softmax(1), nn.LogSigmoid(), nn.GLU(1), nn.Softshrink(0.2), nn.Tanh()]
    return Each(nn.Linear(5, 2), layers)


def arithmetic():
    def functions(x, a):
        p = x.abs() + 0.1
        y = [x.pow(2), x**3, p.pow(0.5), p**a, p.sqrt(), x.exp(), p.log(), 1 / p, p.rsqrt(), x / p, a - x, 2 - x, -x, x.erf()]
        y += [torch.min(x, a), torch.maximum(x, -x), x.clamp(-0.5, 0.7), x.clamp(min=0), x.clamp(max=0.3), x.sin(), x.cos()]
        return y + [torch.log1p(p), torch.lerp(x, p, 0.25), x.add(p, alpha=2), torch.outer(a, a) @ x.transpose(1, 2), x @ a]

    return Each(nn.Linear(5, 2), functions=functions, weight=(2,))


def image_norms():
    layers = [nn.GroupNorm(2, 4), nn.GroupNorm(1, 4, affine=False), nn.InstanceNorm2d(4), nn.InstanceNorm2d(4, affine=True)]
    layers += [nn.BatchNorm2d(4), nn.BatchNorm2d(4, affine=False), nn.LayerNorm((4, 2, 3)), nn.LayerNorm((2, 3), bias=False)]
    return Each(nn.Conv2d(2, 4, 1), layers)


def sequence_norms():
    layers = [nn.GroupNorm(2, 4), nn.InstanceNorm1d(4, affine=True), nn.BatchNorm1d(4), nn.LayerNorm(4)]
    functions = lambda x, weight: [  # x: [batch, 4, 4]
        3 * F.linear(F.normalize(x, dim=2), F.normalize(weight, dim=1)), F.normalize(x, p=1, dim=1),
        weight[0] * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)), x / (x.norm(dim=2, keepdim=True) + 1e-6),
        (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 1e-5), F.cosine_similarity(x[:, :2], x[:, 2:], dim=2),
    ]
    return Each(nn.Linear(3, 4), layers + [nn.LayerNorm(4, bias=False)], functions, (3, 4))


def convolutions():
    layers = [nn.Conv2d(2, 1, 3, padding=1, padding_mode="reflect"), nn.Conv2d(2, 1, 4, padding="same"), nn.Conv2d(2, 1, 1, 2)]
    layers += [nn.Conv2d(2, 1, (3, 2), (2, 1), (1, 2), bias=False), nn.Conv2d(2, 2, 3, padding=2, dilation=2, groups=2)]
    layers += [nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(2, 1, 3, stride=2)), nn.ConvTranspose2d(2, 1, 2, stride=2)]
    layers += [nn.ConvTranspose2d(2, 2, 3, groups=2, bias=False), nn.ConvTranspose2d(2, 1, 3, 2, 1, output_padding=1)]
    layers += [nn.Sequential(nn.ConvTranspose2d(2, 1, 3, (1, 2), padding=1, dilation=2), nn.BatchNorm2d(1), nn.ReLU())]
    causal = nn.Sequential(nn.ConstantPad1d((4, 0), 0.0), nn.Conv1d(2, 1, 3, dilation=2))
    sequences = [nn.Conv1d(2, 1, 5, stride=2, padding=2), nn.Conv1d(2, 2, 3, padding=2, dilation=2, groups=2), causal]
    return Each(nn.Conv2d(2, 2, 1), layers + [nn.Sequential(nn.Flatten(2), layer) for layer in sequences])


def pools():
    layers = [nn.MaxPool2d(3, 2, ceil_mode=True), nn.MaxPool2d(2, dilation=2), nn.MaxPool2d((2, 3), (2, 2), (1, 1), ceil_mode=True)]
    layers += [nn.AvgPool2d(3, 2, 1), nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.AvgPool2d(3, 2, ceil_mode=True)]
    layers += [nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False), nn.AvgPool2d(3, 2, 1, ceil_mode=True)]
    layers += [nn.AdaptiveAvgPool2d(1), nn.AdaptiveAvgPool2d((2, 4)), nn.AdaptiveMaxPool2d(1), nn.AdaptiveMaxPool2d((3, 1))]
    layers += [nn.Sequential(nn.Flatten(2), pool) for pool in (nn.MaxPool1d(5, 4, 2), nn.AvgPool1d(6))]
    return Each(nn.Conv2d(1, 1, 3, padding=1), layers)


def shapes():
    def functions(x, p):  # x: [batch, 4, 2, 2]
        s = x.reshape(-1, 4, 4)
        a, b = s.chunk(2, dim=2)
        c, d = s.split([1, 3], dim=1)
        y = [torch.stack([a, b], 1).sum(1), torch.stack((a, b), -1)[..., 1], d.flip([1, 2]), s[:, [0, 2]], s.roll((1, -3), (1, 2))]
        y += [c.repeat(1, 2, 2), p.expand(x.shape[0], -1), s[:, 1:-1, 1:4:2], s.narrow(2, 3, 1), s.select(2, 1), x.movedim(1, -1)]
        y += [c.unsqueeze(2).expand(-1, -1, 2, -1), s.transpose(1, 2).contiguous().view(x.size(0), -1), s.reshape(-1, 2, 8)[:, 1]]
        return y + [torch.concat([b, a], -1), torch.einsum("bij,bkj->bik", a, b), x.permute(0, 3, 1, 2).unflatten(1, (2, 1))]

    return Each(nn.Conv2d(2, 4, 1), [nn.PixelShuffle(2), nn.PixelUnshuffle(2)], functions, (1, 6))


def reductions():
    return Each(nn.Linear(3, 4), functions=lambda x, weight: [  # x: [batch, 3, 4]
        x.amax(1), x.amin(2), x.sum(1), x.sum((1, 2), keepdim=True), x.mean(-1), x.var(2), x.var(2, unbiased=False), x.std(1),
        x.norm(dim=2), x.norm(p=1, dim=1), x.abs().max(2)[0], x.max(2, keepdim=True)[0], x.prod(2), torch.logsumexp(x, 2),
        x.mean((1, 2), keepdim=True), x.pow(2).sum(2).sqrt(), torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True),
    ])


def masks():
    mask = torch.rand(3, 3) > 0.4
    return Each(nn.Linear(4, 3), weight=(3, 3), functions=lambda x, weight: [  # x: [batch, 3, 3]
        torch.where(mask, x, torch.tensor(-1.0)), x.masked_fill(mask, 0.5), torch.where(x > 0.2, x, weight), x * (x >= 0.1),
        x.masked_fill(~mask, -1e9).softmax(-1), torch.where((x > 0) & (x < 1), x, -x), x.masked_fill(x.abs() < 0.2, 2.0),
        torch.tril(x), torch.triu(x, 1), torch.ones_like(x) - x, torch.where((x < -0.5) | (x <= 0.5), x, 0.0),
        torch.logical_not(x > 0).to(x.dtype), x + torch.arange(3), (x != x.amax(-1, keepdim=True)) * x,
    ])


class Attention(nn.Module):
    def __init__(self, norm=nn.LayerNorm):
        super().__init__()
        self.norm, self.qkv, self.fc, self.bias = norm(8), nn.Linear(8, 24), nn.Linear(8, 4), nn.Parameter(torch.randn(2, 3, 3))
        self.mha = nn.MultiheadAttention(8, 2, kdim=4, vdim=4, batch_first=True)

    def forward(self, input):
        x = self.norm(input)
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, 2, c // 2).permute(2, 0, 3, 1, 4).unbind(0)
        y, weights = self.mha(x, x[..., :4], x[..., 4:])
        for options in ({"is_causal": True}, {"attn_mask": self.bias, "scale": 0.3}):
            y = y + F.scaled_dot_product_attention(q, k, v, **options).transpose(1, 2).reshape(b, n, c)
        return torch.cat([self.fc(y).flatten(1), weights.flatten(1)], 1)


class WindowAttention(nn.Module):
    """A block of Swin: shifted windows of 2 x 2 over a map of 4 x 4, biases by relative position, a mask."""

    def __init__(self, c=8):
        super().__init__()
        self.embed, self.norm, self.fc = nn.Conv2d(3, c, 1), nn.LayerNorm(c), nn.Linear(c, 5)
        self.qkv, self.out, self.table = nn.Linear(c, 3 * c), nn.Linear(c, c), nn.Parameter(torch.randn(9, 2))
        at = torch.stack(torch.meshgrid(torch.arange(2), torch.arange(2), indexing="ij")).flatten(1)
        apart = at[:, :, None] - at[:, None, :] + 1
        self.register_buffer("positions", 3 * apart[0] + apart[1])
        side = torch.tensor([0, 0, 1, 2])
        region = self.windows((3 * side[:, None] + side).view(1, 4, 4, 1)).squeeze(-1)
        self.register_buffer("mask", -100.0 * (region[:, :, None] != region[:, None, :]))

    @staticmethod
    def windows(x):
        return x.view(-1, 2, 2, 2, 2, x.shape[-1]).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, x.shape[-1])

    def forward(self, input):
        x = self.embed(input).permute(0, 2, 3, 1)
        b, h, w, c = x.shape
        t = self.windows(torch.roll(self.norm(x), (-1, -1), (1, 2)))
        q, k, v = self.qkv(t).view(-1, 4, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
        a = (q * (c // 2) ** -0.5) @ k.transpose(-2, -1)
        a = a + self.table[self.positions.view(-1)].view(4, 4, 2).permute(2, 0, 1).unsqueeze(0)
        a = (a.view(b, 4, 2, 4, 4) + self.mask.unsqueeze(1).unsqueeze(0)).view(-1, 2, 4, 4).softmax(-1)
        t = self.out((a @ v).transpose(1, 2).reshape(-1, 4, c)).view(b, 2, 2, 2, 2, c)
        return self.fc((x + torch.roll(t.permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c), (1, 1), (1, 2))).mean((1, 2)))


def channel_shuffle():
    """A unit of ShuffleNet."""
    shuffle = lambda x, y: y.view(-1, 2, 4, *y.shape[2:]).transpose(1, 2).contiguous().view(y.shape)
    layers = [Combined(shuffle, nn.Conv2d(8, 8, 1, groups=2, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))]
    layers += [nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1, groups=2)]
    layers = [nn.Conv2d(3, 8, 3, 2, 1), Combined(operator.add, *layers), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 5))


def squeeze_excitation():
    """A block of MobileNet V3."""
    weights = [nn.AdaptiveAvgPool2d(1), nn.Conv2d(8, 2, 1), nn.ReLU(), nn.Conv2d(2, 8, 1), nn.Hardsigmoid()]
    block = [nn.Conv2d(8, 8, 3, 1, 1, groups=8, bias=False), nn.BatchNorm2d(8), nn.Hardswish(), Combined(operator.mul, *weights)]
    layers = [nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.SiLU(), Combined(operator.add, *block), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.2), nn.Linear(8, 5))


class ConvNext(nn.Module):
    """A block of ConvNeXt; the mean of its channels-last maps becomes arithmetic with the batch's size."""

    def __init__(self):
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 8, 2, stride=2), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.block = nn.Sequential(nn.LayerNorm(8, 1e-6), nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.scale, self.pool = nn.Parameter(torch.rand(8, 1, 1)), nn.AdaptiveAvgPool2d(1)
        self.norm, self.fc = nn.LayerNorm(8, 1e-6), nn.Linear(8, 5)

    def forward(self, input):
        x = self.stem(input)
        x = self.scale * self.block(self.depthwise(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2) + x
        return self.fc(self.norm(self.pool(x).permute(0, 2, 3, 1)).permute(0, 3, 1, 2).flatten(1))


class Recurrent(nn.Module):
    def __init__(self, kind, directions=1, zero_state=False):
        super().__init__()
        self.embed, self.fc, self.zero_state = nn.Embedding(VOCABULARY, 5), nn.Linear(6 * directions, 5), zero_state
        self.rnn = getattr(nn, kind)(5, 6, batch_first=True, bidirectional=directions == 2)

    def forward(self, tokens):
        zero = torch.zeros(1, tokens.size(0), 6) if self.zero_state else None
        out, state = self.rnn(self.embed(tokens), (zero, zero) if self.zero_state else None)
        state = state[0] if isinstance(state, tuple) else state
        last = torch.cat([state[-2], state[-1]], 1) if self.rnn.bidirectional else state[-1]
        return self.fc(out[:, -1] if self.zero_state else last)


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.position, self.fc = nn.Embedding(VOCABULARY, 8), nn.Parameter(torch.randn(1, 6, 8)), nn.Linear(8, 5)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)

    def forward(self, tokens):
        padding = tokens == 0
        x = self.encoder(self.embed(tokens) + self.position, src_key_padding_mask=padding)
        keep = (~padding).unsqueeze(-1).to(x.dtype)
        return self.fc((x * keep).sum(1) / keep.sum(1))


class Bert(nn.Module):
    def __init__(self, c=8):
        super().__init__()
        self.word, self.position, self.types = nn.Embedding(VOCABULARY, c), nn.Embedding(6, c), nn.Embedding(2, c)
        self.query, self.key, self.value, self.out, self.pooler = (nn.Linear(c, c) for _ in range(5))
        self.first, self.second, self.third = (nn.LayerNorm(c, 1e-12) for _ in range(3))
        self.up, self.down, self.classifier, self.dropout = nn.Linear(c, 16), nn.Linear(16, c), nn.Linear(c, 5), nn.Dropout(0.1)
        self.register_buffer("position_ids", torch.arange(6).expand((1, -1)))
        self.register_buffer("token_type_ids", torch.zeros(1, 6, dtype=torch.long))

    def forward(self, input_ids, attention_mask, token_type_ids=None):
        b, n = input_ids.size()
        types = self.token_type_ids[:, :n].expand(b, n) if token_type_ids is None else token_type_ids
        mask = (1.0 - attention_mask[:, None, None, :].to(torch.float32)) * torch.finfo(torch.float32).min
        x = self.dropout(self.first(self.word(input_ids) + self.types(types) + self.position(self.position_ids[:, :n])))
        q, k, v = (layer(x).view(b, n, 2, -1).transpose(1, 2) for layer in (self.query, self.key, self.value))
        a = self.dropout((q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5 + mask).softmax(-1))
        y = (a @ v).permute(0, 2, 1, 3).contiguous()
        x = self.second(x + self.dropout(self.out(y.view(y.size()[:-2] + (-1,)))))
        x = self.third(x + self.dropout(self.down(F.gelu(self.up(x)))))
        return self.classifier(self.dropout(torch.tanh(self.pooler(x[:, 0]))))


class TextCnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.drop, self.fc = nn.Embedding(VOCABULARY, 6), nn.Dropout(0.5), nn.Linear(8, 5)
        self.convs = nn.ModuleList([nn.Conv1d(6, 4, k) for k in (2, 3)])

    def forward(self, tokens):
        x = self.embed(tokens).transpose(1, 2)
        x = [F.relu(conv(x)) for conv in self.convs]
        return self.fc(self.drop(torch.cat([F.max_pool1d(v, v.size(2)).squeeze(2) for v in x], 1)))


def mlp():
    layers = [nn.Flatten(), nn.Linear(12, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 6)]
    return nn.Sequential(*layers, nn.BatchNorm1d(6, affine=False), nn.Tanh(), nn.Linear(6, 5))


def dense_block():
    """DenseNet: batch norms in front of convolutions, which no exporter can fold away."""
    layer = lambda c, size: [nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, 4, size, padding=size // 2, bias=False)]
    join = lambda x, y: torch.cat([x, y], 1)
    layers = [nn.Conv2d(3, 4, 3, padding=1), Combined(join, *layer(4, 3)), Combined(join, *layer(8, 1), *layer(4, 3))]
    layers += [*layer(12, 1), nn.AvgPool2d(2), Combined(join, *layer(4, 3)), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 5))


# As Keras models come out of tf2onnx: channels last outside, uneven padding by name, biases first and as Add.
NHWC = """nhwc (float[batch,9,9,3] input) => (float[batch,5] logits) {
    zero = Constant <value_float = 0.0> ()    six = Constant <value_float = 6.0> ()
    a = Transpose <perm = [0,3,1,2]> (input)
    b = Conv <auto_pad = "SAME_UPPER", strides = [2,2], kernel_shape = [3,3]> (a, w_4x3x3x3)
    c = Add (b, bias_1x4x1x1)
    d = BatchNormalization <epsilon = 0.001> (c, gamma_4, beta_4, mean_4, variance_4)
    e = Clip (d, zero, six)                   f = Conv <auto_pad = "SAME_UPPER", group = 4> (e, w_4x1x5x5, bias_4)
    g = MaxPool <auto_pad = "SAME_UPPER", strides = [2,2], kernel_shape = [2,2]> (f)
    h = Conv <auto_pad = "SAME_UPPER"> (g, w_6x4x2x2)    i = Transpose <perm = [0,2,3,1]> (h)
    j = Add (i, bias_6)                       k = Sigmoid (j)
    l = Mul (j, k)                            m = ReduceMean <axes = [1,2], keepdims = 0> (l)
    n = MatMul (m, w_6x5)                     logits = Add (bias_5, n)
}"""
# Every weight in a Constant node, and Gemm in its forms.
CONSTANTS = """constants (float[batch,3,2,2] input) => (float[batch,5] logits) {
    quarter = Constant <value_float = 0.25> ()   shape = Constant <value_ints = [0,2,3]> ()
    a = Flatten <axis = 1> (input)               b = Gemm <alpha = 0.5, beta = 2.0> (a, w_12x8, bias_8)
    c = Elu <alpha = 0.8> (b)                    d = Gemm <transB = 1> (c, w_6x8, bias_1x6)
    e = Sub (quarter, d)                         f = Relu (e)
    g = Gemm <beta = 0.5> (f, w_6x6, bias_)      h = Reshape (g, shape)
    i = ReduceMax <axes = [1], keepdims = 0> (h) j = Concat <axis = -1> (g, i)
    turned = Transpose <perm = [1,0]> (w_5x9)    k = MatMul (j, turned)
    sum = Add (left_5, right_5)                  logits = Add (sum, k)
}"""


def by_hand(text):
    """The graph of a text, with random values for each name that ends in its shape."""
    graph = onnx.parser.parse_graph(text)
    for name in dict.fromkeys(name for node in graph.node for name in node.input if "_" in name):
        kind, shape = name.split("_")
        values = 0.4 * torch.randn([int(size) for size in shape.split("x") if size])
        tensor = onnx.numpy_helper.from_array((values.abs() + 0.5 if kind in ("gamma", "variance") else values).numpy(), name)
        if text is CONSTANTS:
            graph.node.insert(0, onnx.helper.make_node("Constant", [], [name], value=tensor))
        else:
            graph.initializer.append(tensor)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 15)], ir_version=8)


def scatter(model, noise):
    """Weights that do not shrink the signal, biases and norms with noise, statistics away from zero and one."""
    for parameter in model.parameters():
        parameter.data.mul_(2).add_(noise * torch.randn_like(parameter))
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(*((0.5, 1.5) if name.endswith("var") else (-0.5, 0.5)))


def export(model, inputs, form):
    arguments, batch = tuple(inputs.values()), torch.export.Dim("batch")
    options = {"input_names": list(inputs), "output_names": ["logits"]}
    if form.startswith("dynamo"):
        options |= {"dynamic_shapes": tuple({0: batch} for _ in inputs), "opset_version": int(form[6:] or 20)}
        return torch.onnx.export(model, arguments, dynamo=True, verbose=False, **options).model_proto
    options["opset_version"] = int(form[5:]) if form.startswith("opset") else 17
    if form == "kept":
        model.train()
        options |= {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    axes = {name: {0: "batch"} for name in [*inputs, "logits"]}
    file = io.BytesIO()
    torch.onnx.export(model, arguments, file, dynamo=False, dynamic_axes=axes, **options)
    return onnx.load_from_string(file.getvalue())


def strip(message):
    for field, value in message.ListFields():
        if field.name in ("doc_string", "metadata_props", "value_info"):
            message.ClearField(field.name)
        elif field.message_type:
            for part in value if hasattr(value, "__len__") else [value]:
                strip(part)


def write(name, source, make_inputs):
    torch.manual_seed(zlib.crc32(name.encode()))
    inputs = make_inputs()
    arrays = {key: value.numpy() for key, value in inputs.items()}
    if isinstance(source, str):
        proto = by_hand(source)
        logits = ReferenceEvaluator(proto).run(None, arrays)[0]
    else:
        model = source().eval()
        scatter(model, noise=0.0 if source is dense_block else 0.1)  # the exporter merges its equal weights
        proto = export(model, inputs, name.rpartition("-")[2])
        logits = model.eval()(*inputs.values()).detach().numpy()
    strip(proto)
    onnx.checker.check_model(proto, full_check=True)
    path = HERE / f"{name}.onnx"
    path.parent.mkdir(exist_ok=True)
    Path(f"{path}.data").unlink(missing_ok=True)
    onnx.save_model(proto, path, save_as_external_data=path.parent != HERE, location=f"{path.name}.data", size_threshold=64)
    save_file(arrays | {"logits": logits}, path.with_suffix(".safetensors"))


def floats(*shape):
    return lambda: {"input": torch.randn(EXAMPLES, *shape)}


def tokens(*names):
    """Rows of different lengths, filled up with zeros; where they end; and types."""
    ids = torch.tensor([[3, 7, 1, 9, 4, 11], [5, 2, 8, 6, 10, 0], [7, 3, 8, 1, 0, 0]])
    return lambda: dict(zip(names, [ids, (ids != 0).long(), (ids > 6).long()], strict=False))


MODELS = [
    ("activations", activations, floats(2, 5), "ts opset13"),
    ("arithmetic", arithmetic, floats(2, 5), "ts"),
    ("image-norms", image_norms, floats(2, 2, 3), "ts dynamo"),
    ("sequence-norms", sequence_norms, floats(4, 3), "ts dynamo"),
    ("convolutions", convolutions, floats(2, 4, 4), "ts dynamo"),
    ("pools", pools, floats(1, 6, 8), "ts"),
    ("shapes", shapes, floats(2, 2, 2), "ts dynamo"),
    ("reductions", reductions, floats(3, 3), "opset11 dynamo"),
    ("masks", masks, floats(3, 4), "ts"),
    ("attention", Attention, floats(3, 8), "ts dynamo"),
    ("attention-rms", lambda: Attention(nn.RMSNorm), floats(3, 8), "dynamo23"),
    ("window-attention", WindowAttention, floats(3, 4, 4), "ts dynamo"),
    ("channel-shuffle", channel_shuffle, floats(3, 6, 6), "ts"),
    ("squeeze-excitation", squeeze_excitation, floats(3, 6, 6), "dynamo"),
    ("convnext", ConvNext, floats(3, 6, 6), "dynamo"),
    ("lstm-bidirectional", lambda: Recurrent("LSTM", directions=2), tokens("tokens"), "ts"),
    ("lstm-zero-state", lambda: Recurrent("LSTM", zero_state=True), tokens("tokens"), "ts dynamo"),
    ("gru", lambda: Recurrent("GRU"), tokens("tokens"), "ts"),
    ("rnn", lambda: Recurrent("RNN"), tokens("tokens"), "ts"),
    ("transformer", Transformer, tokens("tokens"), "ts dynamo"),
    ("bert", Bert, tokens("input_ids", "attention_mask", "token_type_ids"), "ts"),
    ("bert-default-types", Bert, tokens("input_ids", "attention_mask"), "dynamo"),
    ("mlp", mlp, floats(3, 2, 2), "kept"),
    ("dense-block", dense_block, floats(3, 6, 6), "ts"),
    ("text-cnn", TextCnn, tokens("tokens"), "ts"),
    ("external/mlp", mlp, floats(3, 2, 2), "dynamo"),
    ("hand", NHWC, floats(9, 9, 3), "nhwc"),
    ("hand", CONSTANTS, floats(3, 2, 2), "constants"),
]


def main():
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    for name, source, make_inputs, forms in MODELS:
        for form in forms.split():
            write(f"{name}-{form}", source, make_inputs)


if __name__ == "__main__":
    main()

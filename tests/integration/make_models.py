"""Make the models of tests/integration/models, and how PyTorch trains them.

    make_models.py FOLDER

Needs PyTorch 2.5 or later; the stored archives were made by 2.6.0. Beside
FOLDER/NAME.pt2, which has the sizes of a micro-batch, is FOLDER/NAME.json: the
samples of a step (two micro-batches), the losses and gradient norms of STEPS
steps of SGD on them, the norms of the first step's gradients, and the norms of
parameters and buffers at the end. With --large also what is too large to be
stored: a ResNet-101.
"""

import argparse
import inspect
import json
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "importers"))

from make_archives import (  # noqa: E402
    Gpt, describe, export, shorten_stack_traces)

STEPS = 5
MICRO_BATCHES = 2
LEARNING_RATE = 0.05
# Its gradients are ten times larger.
RESNET_LEARNING_RATE = 0.005


class Encoder(nn.Module):
    """A block of BERT: attention over all positions, norms behind."""

    def __init__(self, width, heads):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm1 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x, mask=None):
        y, _ = self.attention(x, x, x, attn_mask=mask, need_weights=False)
        x = self.norm1(x + y)
        return self.norm2(x + self.down(functional.gelu(self.up(x))))


class Bert(nn.Module):
    """Tokens, positions and segments; only masked tokens are scored."""

    def __init__(self, width=12, context=6, vocabulary=17):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.segments = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(Encoder(width, 3) for _ in range(2))
        self.head = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, tokens, segments, labels):
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.norm(self.tokens(tokens) + self.positions(positions)
                      + self.segments(segments))
        for layer in self.layers:
            x = layer(x)
        x = functional.gelu(self.head(x)) @ self.tokens.weight.T + self.bias
        return functional.cross_entropy(x.flatten(0, 1), labels.flatten(),
                                        ignore_index=-100)


class Bottleneck(nn.Module):
    def __init__(self, inputs, width, stride):
        super().__init__()
        outputs = 4 * width
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class ResNet(nn.Module):
    """torchvision's, narrow."""

    def __init__(self, blocks, width=2, classes=5):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, width, 3, 1, 1, bias=False),
                                  nn.BatchNorm2d(width), nn.ReLU(inplace=True),
                                  nn.MaxPool2d(3, 2, 1))
        layers, inputs = [], width
        for i, count in enumerate(blocks):
            for k in range(count):
                stride = 2 if i > 0 and k == 0 else 1
                layers.append(Bottleneck(inputs, width << i, stride))
                inputs = 4 * width << i
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, image, labels):
        x = functional.adaptive_avg_pool2d(self.layers(self.stem(image)), 1)
        return functional.cross_entropy(self.fc(torch.flatten(x, 1)), labels)


class DenseNet(nn.Module):
    """Each layer reads all those before it."""

    def __init__(self, growth=3, layers=4, classes=5):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(4 + i * growth) for i in range(layers + 1))
        self.convs = nn.ModuleList(
            nn.Conv2d(4 + i * growth, growth, 3, padding=1, bias=False)
            for i in range(layers))
        self.transition = nn.Conv2d(4 + layers * growth, 6, 1)
        self.fc = nn.Linear(6, classes)

    def forward(self, image, labels):
        features = [self.stem(image)]
        for norm, conv in zip(self.norms, self.convs):
            x = functional.relu(norm(torch.cat(features, 1)), inplace=True)
            features.append(conv(x))
        x = functional.relu(self.norms[-1](torch.cat(features, 1)))
        x = functional.avg_pool2d(self.transition(x), 2)
        return functional.cross_entropy(self.fc(x.mean((2, 3))), labels)


class Inception(nn.Module):
    """Four branches side by side, twice."""

    def __init__(self, classes=5):
        super().__init__()

        def block(inputs):
            return nn.ModuleList([
                nn.Conv2d(inputs, 2, 1),
                nn.Sequential(nn.Conv2d(inputs, 2, 1), nn.ReLU(),
                              nn.Conv2d(2, 3, 3, padding=1)),
                nn.Sequential(nn.Conv2d(inputs, 2, 1), nn.ReLU(),
                              nn.Conv2d(2, 2, 5, padding=2)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(inputs, 1, 1))])

        self.first = block(3)
        self.second = block(8)
        self.fc = nn.Linear(8, classes)

    def forward(self, image, labels):
        x = image
        for branches in (self.first, self.second):
            x = functional.relu(torch.cat([b(x) for b in branches], 1))
        return functional.cross_entropy(self.fc(x.mean((2, 3))), labels)


class Vit(nn.Module):
    """Patches and a class token through encoders with norms before."""

    def __init__(self, width=12, classes=5):
        super().__init__()
        self.patches = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 5, width))
        self.layers = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(width, 3, 16, 0.0, batch_first=True,
                                       norm_first=True, activation="gelu"),
            2, enable_nested_tensor=False)
        self.head = nn.Linear(width, classes)

    def forward(self, image, labels):
        x = self.patches(image).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1)
        x = self.layers(x + self.positions)
        return functional.cross_entropy(self.head(x[:, 0]), labels)


class UNet(nn.Module):
    """Down, up, and the skips between; a class for each pixel."""

    def __init__(self, classes=3):
        super().__init__()

        def double(inputs, outputs):
            return nn.Sequential(
                nn.Conv2d(inputs, outputs, 3, padding=1),
                nn.BatchNorm2d(outputs), nn.ReLU(inplace=True),
                nn.Conv2d(outputs, outputs, 3, padding=1),
                nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

        self.down1, self.down2 = double(3, 4), double(4, 6)
        self.middle = double(6, 8)
        self.up2 = nn.ConvTranspose2d(8, 6, 2, 2)
        self.up1 = nn.ConvTranspose2d(6, 4, 2, 2)
        self.join2, self.join1 = double(12, 6), double(8, 4)
        self.head = nn.Conv2d(4, classes, 1)

    def forward(self, image, labels):
        a = self.down1(image)
        b = self.down2(functional.max_pool2d(a, 2))
        c = self.middle(functional.max_pool2d(b, 2))
        x = self.join2(torch.cat([self.up2(c), b], 1))
        x = self.join1(torch.cat([self.up1(x), a], 1))
        return functional.cross_entropy(self.head(x), labels)


class Recurrent(nn.Module):
    """Two layers over a short text."""

    def __init__(self, kind, vocabulary=11):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, 6)
        self.layers = kind(6, 5, num_layers=2, batch_first=True)
        self.head = nn.Linear(5, vocabulary)

    def forward(self, tokens, labels):
        y, _ = self.layers(self.embed(tokens))
        return functional.cross_entropy(self.head(y).flatten(0, 1),
                                        labels.flatten())


class EncoderDecoder(nn.Module):
    """Two inputs and a label; no loss inside."""

    def __init__(self, width=12, vocabulary=13):
        super().__init__()
        self.source = nn.Embedding(vocabulary, width)
        self.target = nn.Embedding(vocabulary, width)
        self.encoder = Encoder(width, 3)
        self.self_attention = nn.MultiheadAttention(width, 3, batch_first=True)
        self.attention = nn.MultiheadAttention(width, 3, batch_first=True)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, source, target):
        memory = self.encoder(self.source(source))
        x = self.target(target)
        size = target.shape[1]
        future = torch.ones(size, size, dtype=torch.bool).triu(1)
        y, _ = self.self_attention(x, x, x, attn_mask=future,
                                   need_weights=False)
        x = self.norm1(x + y)
        y, _ = self.attention(x, memory, memory, need_weights=False)
        return self.head(self.norm2(x + y))


def make_cases(is_large):
    """Name to (make the model, samples of a step, with which loss)."""
    generator = torch.Generator().manual_seed(5)

    def floats(*sizes):
        return torch.randn(*sizes, generator=generator)

    def integers(high, *sizes):
        return torch.randint(high, sizes, generator=generator)

    images = (floats(6, 3, 8, 8), integers(5, 6))
    masked = integers(17, 4, 6)
    masked[integers(2, 4, 6) > 0] = -100
    texts = (integers(11, 4, 5), integers(11, 4, 5))
    cases = {
        "gpt": (lambda: Gpt(2, 12, 2, 6, 17),
                (integers(17, 4, 6), integers(17, 4, 6))),
        "bert": (Bert, (integers(17, 4, 6), integers(2, 4, 6), masked)),
        "densenet": (DenseNet, images),
        "inception": (Inception, images),
        "vit": (Vit, images),
        "unet": (UNet, (images[0], integers(3, 6, 8, 8))),
        "lstm": (lambda: Recurrent(nn.LSTM), texts),
        "gru": (lambda: Recurrent(nn.GRU), texts),
        "encoder_decoder": (EncoderDecoder,
                            (integers(13, 4, 6), integers(13, 4, 5),
                             integers(13, 4, 5))),
    }
    # So large that the last batch norm has more than a few numbers: with two or
    # three, the last bits of two libraries decide.
    large_images = ((integers(33, 6, 3, 24, 24) - 16) / 8.0, integers(5, 6))
    cases["resnet"] = (lambda: ResNet((1, 1, 2, 1)), large_images)
    if is_large:
        cases["resnet101"] = (lambda: ResNet((3, 4, 23, 3), 4), large_images)
    return cases


def split(tensors):
    size = tensors[0].shape[0] // MICRO_BATCHES
    return [tuple(t[i * size:(i + 1) * size].clone() for t in tensors)
            for i in range(MICRO_BATCHES)]


def loss_of(model, tensors):
    if isinstance(model, EncoderDecoder):
        logits = model(*tensors[:-1])
        return functional.cross_entropy(logits.flatten(0, 1),
                                        tensors[-1].flatten())
    result = model(*tensors)
    return result[0] if isinstance(result, tuple) else result


def norms_of(named):
    return {name: tensor.double().norm().item() for name, tensor in named
            if not name.endswith("num_batches_tracked")}


def train(model, tensors, steps, learning_rate):
    """What is written down of `steps` steps, each on all of the tensors."""
    optimizer = torch.optim.SGD(model.parameters(), learning_rate)
    record = {"torch": torch.__version__, "learning_rate": learning_rate,
              "losses": [], "grad_norms": []}
    for step in range(steps):
        optimizer.zero_grad()
        loss = 0.0
        for part in split(tensors):
            part_loss = loss_of(model, part) / MICRO_BATCHES
            part_loss.backward()
            loss += part_loss.item()
        gradients = norms_of((name, parameter.grad)
                             for name, parameter in model.named_parameters()
                             if parameter.grad is not None)
        if step == 0:
            record["gradients"] = gradients
        record["losses"].append(loss)
        record["grad_norms"].append(
            sum(norm * norm for norm in gradients.values()) ** 0.5)
        optimizer.step()
    record["parameters"] = norms_of(model.named_parameters())
    record["buffers"] = norms_of(model.named_buffers())
    return record


def main():
    parser = argparse.ArgumentParser(description=inspect.cleandoc(__doc__))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--large", action="store_true")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name, (make_model, tensors) in make_cases(arguments.large).items():
        torch.manual_seed(1)
        model = make_model().train()
        inputs = split(tensors)[0]
        has_loss = not isinstance(model, EncoderDecoder)
        program = export(model, inputs if has_loss else inputs[:-1])
        shorten_stack_traces(program)
        torch.export.save(program, arguments.folder / f"{name}.pt2")
        record = train(model, tensors, STEPS,
                       RESNET_LEARNING_RATE if name.startswith("resnet")
                       else LEARNING_RATE)
        record["loss"] = "graph" if has_loss else "cross_entropy"
        record["inputs"] = [describe(tensor) for tensor in tensors]
        (arguments.folder / f"{name}.json").write_text(
            json.dumps(record) + "\n")


if __name__ == "__main__":
    main()

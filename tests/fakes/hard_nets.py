"""Small nets, one for each hard case of placement."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def spread_norms(net: nn.Module, seed: int = 0) -> nn.Module:
    """Batch norms with statistics and factors as after training; in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm1d)):
            n = module.num_features
            module.running_mean.copy_(0.3 * torch.randn(n, generator=generator))
            module.running_var.copy_(0.5 + torch.rand(n, generator=generator))
            module.weight.data.copy_(0.5 + torch.rand(n, generator=generator))
            module.bias.data.copy_(0.2 * torch.randn(n, generator=generator))
    return net.eval()


def conv(inside: int, outside: int, size: int = 3, **options) -> nn.Conv2d:
    return nn.Conv2d(inside, outside, size, padding=size // 2, **options)


class Residual(nn.Module):
    """Both residual kinds: identity skip with a ReLU behind, and a skip with its own convolution with nothing behind."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.relu = conv(3, 8, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.a, self.b, self.c, self.skip = conv(8, 8), conv(8, 8), conv(8, 12, stride=2), conv(8, 12, 1, stride=2)
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.norm(self.stem(x)))
        x = self.relu(self.b(self.relu(self.a(x))) + x)
        x = self.c(x) + self.skip(x)
        return self.head(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class Inverted(nn.Module):
    """Squeeze-and-excite with HardSigmoid, HardSwish, SiLU, a depthwise convolution, ReLU6, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.act = conv(3, 8, bias=False), nn.BatchNorm2d(8), nn.Hardswish(inplace=True)
        self.depth, self.act6 = conv(8, 8, groups=8), nn.ReLU6()
        self.pool, self.down, self.up, self.gate = (
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(8, 4, 1),
            nn.Conv2d(4, 8, 1),
            nn.Hardsigmoid(),
        )
        self.out, self.silu, self.drop, self.head = nn.Conv2d(8, 8, 1), nn.SiLU(), nn.Dropout(0.5), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act6(self.depth(self.act(self.norm(self.stem(x)))))
        x = x * self.gate(self.up(F.relu(self.down(self.pool(x)))))
        x = self.silu(self.out(x))
        return self.head(self.drop(x.mean([2, 3])))


class Shuffled(nn.Module):
    """Concat, chunk, channel shuffle, max and average pools, one module used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.twice, self.left = conv(3, 8), conv(4, 4), conv(4, 4, 1)
        self.pool, self.mean, self.head = nn.MaxPool2d(2), nn.AvgPool2d(2), nn.Linear(8 * 4 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(F.relu(self.stem(x)))
        one, two = x.chunk(2, dim=1)
        two = F.relu(self.twice(F.relu(self.twice(two))))
        x = torch.cat([self.left(one), two], 1)
        n, c, h, w = x.size()
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).contiguous().view(n, c, h, w)
        return self.head(self.mean(x).flatten(1))


class PreActivated(nn.Module):
    """A batch norm and a ReLU before the convolution, behind a tensor that is read elsewhere too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.a, self.head = conv(3, 8), nn.BatchNorm2d(8), conv(8, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.a(F.relu(x))
        x = self.norm(x).relu_()
        return self.head(x.mean((2, 3)))


class Odd(nn.Module):
    """Things with no integer kernel, between things that have one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.up = conv(3, 8), nn.GroupNorm(2, 8), nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.wrap = nn.Conv2d(8, 8, 3, padding=1, padding_mode="circular")
        self.last, self.head = conv(8, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.wrap(self.up(F.gelu(self.norm(self.stem(x)))))
        return self.head(F.relu(self.last(x)).mean((2, 3)))


NETS = (Residual, Inverted, Shuffled, PreActivated, Odd)


def make(kind: type[nn.Module], seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return spread_norms(kind(), seed)


def images(n: int = 32, size: int = 16, seed: int = 1) -> Tensor:
    """Blurred noise: as bright and as smooth as photographs, more or less."""
    noise = torch.randn(n, 3, size // 4, size // 4, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(noise, size=(size, size), mode="bicubic")

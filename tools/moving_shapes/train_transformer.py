# SPDX-License-Identifier: Apache-2.0
"""Trains the transformer and the text encoder together, by flow matching as Wan does.

x = (1 - sigma) * latents + sigma * noise, the target is noise - latents, the timestep 1000 * sigma;
sigma is drawn uniformly or logit-normally and shifted by 3, as the scheduler shifts it, and by more in clips of
over 9 latent frames: many frames tell the same about the object, so that only more noise hides it, and where it is
hidden is where the model has to learn to decide on one object and one path. One caption in ten is empty
(classifier-free guidance). Clips have 1 to 65 latent frames, half of them 1 to 16 as the windows of most strategies.
Three of four batches start at the clip's first latent frame, which has a share of the loss of its own: it is one
frame of many, but decoded differently. The others start later, as the windows of a long video do; their first two
frames are context there and carry no loss, so that the model never learns to put anything but an opening frame at
the opening of a video.

    python train_transformer.py --state DIR --until 23:50      # DIR holds vae.pt; UTC clock
    python train_transformer.py --state DIR --until 23:50 --init MODEL --lr 8e-4

With --init a training starts from the weights of an exported checkpoint (diffusers layout); its VAE, latent
statistics and tokenizer are used as they are, so that only the transformer and the text encoder change.
Interrupted runs resume from DIR/transformer.pt (weights, average, optimiser); the pool is saved beside it.
The learning rate follows the time spent so far as a share of that and the time left until --until, whenever that is.
"""
from __future__ import annotations

import argparse
import datetime
import json
import os
import time

import torch

import data
import latents as latent_tools
import text
from optim import Average, Muon, autocast, schedule
from transformer import build, load, quicken

SHORT = torch.tensor([1.0, 0.5, 0.5, 0.7] + [1.5] * 4 + [2.5] + [1.5] * 4 + [1.0] * 3)  # weight of 1..16
SHORT_SHARE, WHOLE_SHARE = 0.5, 0.2  # of the batches; the rest has 17 latent frames or more, but not all
FRAME_TOKENS = 24  # of a latent frame
CONTEXT = 2  # frames without loss in a batch that starts inside a clip


class Model(torch.nn.Module):
    def __init__(self, encoder, transformer):
        super().__init__()
        self.encoder, self.transformer = encoder, transformer

    def forward(self, x, sigma, ids, mask):
        embedded = text.embed(self.encoder, ids, mask)
        return self.transformer(x, (1000 * sigma), embedded, return_dict=False)[0]


def length_weights(limit: int) -> torch.Tensor:
    """Probability of every number of latent frames, [limit]: entry i is that of i + 1."""
    if limit <= len(SHORT):
        return SHORT[:limit] / SHORT[:limit].sum()
    between = 1 / torch.arange(len(SHORT) + 1.0, limit)  # evenly over the logarithm of the length
    parts = (SHORT_SHARE, SHORT), (1 - SHORT_SHARE - WHOLE_SHARE, between), (WHOLE_SHARE, torch.ones(1))
    weights = torch.cat([share * part / part.sum() for share, part in parts if len(part)])
    return weights / weights.sum()


class Pool:
    """Normalised latents of clips of `frames` frames with their captions, renewed a few at a time."""

    def __init__(self, vae, path: str, size: int, frames: int, generator: torch.Generator):
        self.vae, self.path, self.frames, self.generator = vae, path, frames, generator
        self.lengths = length_weights(1 + (frames - 1) // 4)
        self.latents, self.captions, self.cursor, self.size = [], [], 0, size
        if os.path.exists(path):
            self.latents, self.captions, self.cursor = torch.load(path)

    def renew(self, count: int) -> None:
        clips = data.sample(count, self.generator)
        fresh = latent_tools.normalise(self.vae, latent_tools.encode(self.vae, clips, self.frames, self.generator))
        for row, caption in zip(fresh.to(torch.float16), clips.captions()):
            if len(self.latents) < self.size:
                self.latents.append(row)
                self.captions.append(caption)
            else:
                self.latents[self.cursor], self.captions[self.cursor] = row, caption
                self.cursor = (self.cursor + 1) % self.size

    def save(self) -> None:
        torch.save((self.latents, self.captions, self.cursor), self.path + ".new")
        os.replace(self.path + ".new", self.path)

    def batch(self, tokens_wanted: int):
        """Latents [batch, 16, frames, 8, 12], captions, frames without loss."""
        g, limit = self.generator, len(self.lengths)
        frames = int(torch.multinomial(self.lengths, 1, generator=g)) + 1
        inside = 4 <= frames <= limit - 2 and torch.rand((), generator=g) < 0.25
        start = int(torch.randint(1, limit + 1 - frames, (), generator=g)) if inside else 0
        count = max(1, min(64, tokens_wanted // (FRAME_TOKENS * frames)))
        rows = torch.randint(len(self.latents), (count,), generator=g).tolist()
        x = torch.stack([self.latents[i][:, start:start + frames] for i in rows]).float()
        captions = ["" if torch.rand((), generator=g) < 0.1 else self.captions[i] for i in rows]
        return x, captions, CONTEXT if inside else 0


def begin(state: str, init: str | None):
    """VAE, tokenizer and model: of an exported checkpoint, or the VAE of `state` with a new model."""
    if init:
        return latent_tools.load_exported_vae(init), text.load_tokenizer(init), Model(text.load_encoder(init), load(init))
    tokenizer = text.train_tokenizer(os.path.join(state, "tokenizer"))
    return latent_tools.load_vae(state), tokenizer, Model(text.build_encoder(len(tokenizer)), build())


def draw_sigma(count: int, frames: int, generator: torch.Generator) -> torch.Tensor:
    """Noise levels [count], 0 to 1, for clips of `frames` latent frames."""
    shift = 3.0 * max(1.0, frames / 9) ** 0.5
    u = torch.rand(count, generator=generator)
    normal = torch.sigmoid(torch.randn(count, generator=generator))
    u = torch.where(torch.rand(count, generator=generator) < 0.5, u, normal)
    return shift * u / (1 + (shift - 1) * u)


def flow_loss(error: torch.Tensor, context: int, opening: float) -> torch.Tensor:
    """Mean square of error [batch, 16, frames, 8, 12] after `context` frames.

    Without context frame 0 opens a video: its share of the mean is `opening` at least.
    """
    squares = error.square().mean((0, 1, 3, 4))[context:]  # [frames]
    if context or len(squares) * opening <= 1:
        return squares.mean()
    return opening * squares[0] + (1 - opening) * squares[1:].mean()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", required=True)
    parser.add_argument("--until", required=True, help="UTC clock time at which the schedule ends, HH:MM")
    parser.add_argument("--init", help="exported checkpoint to start from")
    parser.add_argument("--lr", type=float, default=1.5e-3)
    parser.add_argument("--decay", type=float, default=0.998, help="of the average of the weights")
    parser.add_argument("--tokens", type=int, default=4680, help="video tokens in a batch (at least one clip)")
    parser.add_argument("--frames", type=int, default=257, help="frames of a clip, 4 n + 1")
    parser.add_argument("--opening", type=float, default=0.1, help="least share of a video's first latent frame in the loss")
    parser.add_argument("--pool", type=int, default=1000, help="clips kept")
    parser.add_argument("--first", type=int, default=320, help="clips encoded before the first step")
    parser.add_argument("--share", type=float, default=0.15, help="share of the time spent on fresh clips")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    hour, minute = map(int, options.until.split(":"))
    today = datetime.datetime.now(datetime.timezone.utc)
    deadline = today.replace(hour=hour, minute=minute, second=0).timestamp()

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    os.makedirs(options.state, exist_ok=True)
    vae, tokenizer, model = begin(options.state, options.init)
    quicken(model.transformer)
    print("parameters", sum(p.numel() for p in model.parameters()), flush=True)
    optimiser = Muon(model.parameters(), options.lr, adam=model.encoder.parameters())
    average = Average(model, options.decay)
    path, step, spent = os.path.join(options.state, "transformer.pt"), 0, 0.0
    if os.path.exists(path):
        state = torch.load(path)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        average.values, average.steps = state["average"], state["average_steps"]
        step, spent = state["step"], state["spent"]
        if options.init != state.get("init"):
            parser.error(f"{path} was started from {state.get('init')}, not from {options.init}: give the same --init or a new --state")
    generator = torch.Generator().manual_seed(options.seed + 1 + step)
    pool = Pool(vae, os.path.join(options.state, "pool.pt"), options.pool, options.frames, generator)
    while len(pool.latents) < options.first:
        pool.renew(8)
        pool.save()
        print("pool", len(pool.latents), flush=True)
    began = time.time() - spent
    log = open(os.path.join(options.state, "transformer_log.jsonl"), "a")
    saved, encoding, training, running = time.time(), 0.0, 1e-6, None
    while time.time() < deadline:
        clock = time.time()
        if encoding < options.share * (encoding + training):
            pool.renew(4)
            encoding += time.time() - clock
            continue
        for group in optimiser.param_groups:
            group["lr"] = options.lr * schedule((clock - began) / (deadline - began))
        x, captions, context = pool.batch(options.tokens)
        ids, mask = text.tokens(tokenizer, captions)
        sigma = draw_sigma(len(x), x.shape[2], generator)
        noise = torch.randn(x.shape, generator=generator)
        level = sigma.view(-1, 1, 1, 1, 1)
        with autocast():
            predicted = model((1 - level) * x + level * noise, sigma, ids, mask)
        loss = flow_loss(predicted.float() - (noise - x), context, options.opening)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad()
        average.update(model)
        step += 1
        running = loss.item() if running is None else 0.98 * running + 0.02 * loss.item()
        training += time.time() - clock
        if step % 25 == 0:
            record = dict(step=step, elapsed=round(time.time() - began, 1), loss=running, norm=norm.item(),
                          lr=group["lr"], pool=len(pool.latents), drawn=pool.cursor)
            log.write(json.dumps(record) + "\n")
            log.flush()
        if time.time() - saved > 170 or time.time() >= deadline:
            torch.save(dict(model=model.state_dict(), optimiser=optimiser.state_dict(), average=average.values,
                            average_steps=average.steps, step=step, spent=time.time() - began, init=options.init,
                            lr=options.lr, decay=options.decay, frames=options.frames), path + ".new")
            os.replace(path + ".new", path)
            pool.save()
            saved = time.time()


if __name__ == "__main__":
    main()

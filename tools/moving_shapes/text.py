# SPDX-License-Identifier: Apache-2.0
"""Tokenizer trained on the captions, a tiny UMT5 encoder, and prompts as WanPipeline embeds them."""
from __future__ import annotations

import io
import os

import sentencepiece
import torch
from transformers import T5TokenizerFast, UMT5Config, UMT5EncoderModel

import data

TEXT_TOKENS = 32  # model_max_length: prompts are padded to this length


def train_tokenizer(folder: str) -> T5TokenizerFast:
    """Unigram sentencepiece model (pad 0, eos 1, unk 2) and the tokenizer.json that transformers loads."""
    os.makedirs(folder, exist_ok=True)
    buffer = io.BytesIO()
    ascii_symbols = "".join(chr(i) for i in range(33, 127))
    captions = data.prompts(False)
    # The trainer proposes pieces that occur in two different words at least: "circle" and "circle,".
    listed = [caption.replace(" ", ", ") + "." for caption in captions]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(captions * 20 + listed), model_writer=buffer, model_type="unigram",
        vocab_size=256, hard_vocab_limit=False, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        pad_piece="<pad>", eos_piece="</s>", unk_piece="<unk>", byte_fallback=False,
        required_chars=ascii_symbols, normalization_rule_name="identity", minloglevel=1)
    with open(os.path.join(folder, "spiece.model"), "wb") as file:
        file.write(buffer.getvalue())
    pieces = sentencepiece.SentencePieceProcessor(model_proto=buffer.getvalue())
    vocabulary = [(pieces.id_to_piece(i), pieces.get_score(i)) for i in range(pieces.vocab_size())]
    tokenizer = T5TokenizerFast(vocab=vocabulary, extra_ids=0, model_max_length=TEXT_TOKENS)
    tokenizer.save_pretrained(folder)
    return tokenizer


def build_encoder(vocabulary: int) -> UMT5EncoderModel:
    return UMT5EncoderModel(UMT5Config(
        vocab_size=vocabulary, d_model=64, d_kv=16, num_heads=4, d_ff=128, num_layers=2, num_decoder_layers=2,
        relative_attention_num_buckets=32, relative_attention_max_distance=128, dropout_rate=0.0,
        feed_forward_proj="gated-gelu", pad_token_id=0, eos_token_id=1, decoder_start_token_id=0,
        is_encoder_decoder=True, tie_word_embeddings=False))


def load_tokenizer(model: str) -> T5TokenizerFast:
    """The tokenizer of an exported checkpoint."""
    return T5TokenizerFast.from_pretrained(model, subfolder="tokenizer")


def load_encoder(model: str) -> UMT5EncoderModel:
    """The text encoder of an exported checkpoint, in fp32."""
    return UMT5EncoderModel.from_pretrained(model, subfolder="text_encoder", dtype=torch.float32)


def tokens(tokenizer, prompts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask, [prompts, TEXT_TOKENS]."""
    batch = tokenizer(prompts, padding="max_length", max_length=TEXT_TOKENS, truncation=True, return_tensors="pt")
    return batch.input_ids, batch.attention_mask


def embed(encoder, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """[prompts, TEXT_TOKENS, d_model], zero after the end token."""
    return encoder(ids, mask).last_hidden_state * mask[..., None]

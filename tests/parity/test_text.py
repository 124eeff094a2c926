# SPDX-License-Identifier: Apache-2.0
"""Prompts to ids and embeddings. Text decoded with a wrong character set ("mojibake"), which ftfy guesses at and we do
not, is left out on purpose."""

import json
import shutil

import pytest
import sentencepiece
import torch
from conftest import EMBEDDED, check_error
from diffusers import WanPipeline
from diffusers.pipelines.wan.pipeline_wan import prompt_clean
from transformers import AutoTokenizer, T5Tokenizer, UMT5EncoderModel

PROMPTS = [
    "a red circle moves to the left", "", "   \t\n  ", "tabs\tand\r\nlines\u2028of\u00a0all\u3000kinds",
    "一只猫在草地上奔跑，阳光明媚。", "قطة تركض على العشب", "family 👨‍👩‍👧‍👦 flag 🏳️‍🌈", "e\u0301 and n\u0303 o\u0308",
    "“curly” ‘quotes’ „low‚", "ﬁne ﬂuﬀy ﬃ ĳ ǆ", "ＦＵＬＬ　ｗｉｄｔｈ！ ｶﾞ", "Tom &amp; Jerry &lt;3 &eacute; &#233; &#x1F600;",
    "don&#146;t &#x80;5 &#x9f; a&#1;b&#xFDD0;c &#0; &#xD800;", "twice &amp;amp; thrice &amp;amp;lt;", "a < b &amp;amp; c",
    "bell\u0007 esc\x1b[31mred\x1b[0m zero\u200bwidth \ufeffbom",
    "word " * 600,
]


def test_tokenizer(probe):
    """The embedded model's; the tokenizers of the random checkpoints are copies of it."""
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED / "tokenizer")
    ours, metadata = probe("tokenize", EMBEDDED, {"none": torch.zeros(1)}, {"prompts": json.dumps(PROMPTS)})
    assert json.loads(metadata["cleaned"]) == [prompt_clean(prompt) for prompt in PROMPTS]
    length = min(512, tokenizer.model_max_length)
    for i, prompt in enumerate(PROMPTS):
        assert ours[f"ids.{i}"].tolist() == tokenizer(prompt_clean(prompt), max_length=length, truncation=True).input_ids


def trained(folder, **settings):
    """A small sentencepiece model with the settings of T5's, trained on the prompts and their like."""
    sentences = [prompt_clean(prompt) for prompt in PROMPTS] + [
        f"{a} {b} {c}" for a in ("a", "the", "one", "eine", "un") for b in ("red", "schnelle", "été", "赤い", "small-ish")
        for c in ("circle bounces over a dark blue background.", "Katze, läuft!", "cheval (blanc)", "123 456", "naïve café")]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_prefix=str(folder / "spiece"), vocab_size=300, hard_vocab_limit=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, character_coverage=0.98, minloglevel=2, **settings)
    (folder / "spiece.vocab").unlink()
    return T5Tokenizer.from_pretrained(folder, extra_ids=7)


@pytest.mark.parametrize("settings", [{}, {"normalization_rule_name": "identity"}, {"split_by_whitespace": False}],
                         ids=["nmt_nfkc", "identity", "pieces_over_words"])
def test_tokenizers_that_transformers_writes_today(tmp_path, probe, settings):
    """tokenizer.json without spiece.model: the same ids as transformers' own reading of the folder."""
    (tmp_path / "trained").mkdir()
    model = tmp_path / "model"
    trained(tmp_path / "trained", **settings).save_pretrained(model / "tokenizer")
    assert (model / "tokenizer/tokenizer.json").exists() and not (model / "tokenizer/spiece.model").exists()
    for file in ("model_index.json", "transformer/config.json", "vae/config.json", "text_encoder/config.json",
                 "scheduler/scheduler_config.json"):
        (model / file).parent.mkdir(exist_ok=True)
        shutil.copy(EMBEDDED / file, model / file)
    tokenizer = AutoTokenizer.from_pretrained(model / "tokenizer")
    prompts = PROMPTS + ["ａ ① ㌔ ½ Ａ",
                         "a<extra_id_0>red <extra_id_1> </s> circle<pad>", "<extra_id_6><extra_id_5>", "<extra_id_"]
    ours, metadata = probe("tokenize", model, {"none": torch.zeros(1)}, {"prompts": json.dumps(prompts)})
    for i, prompt in enumerate(prompts):
        expected = tokenizer(prompt_clean(prompt), max_length=512, truncation=True).input_ids
        assert ours[f"ids.{i}"].tolist() == expected, (prompt, tokenizer.convert_ids_to_tokens(expected))


def test_embeddings(model_dir, probe, record_property):
    """Through the pipeline's own function: padding and zeroing are compared too."""
    prompts = PROMPTS[:2] + PROMPTS[4:6] + PROMPTS[-1:]
    tokenizer = AutoTokenizer.from_pretrained(model_dir / "tokenizer")
    encoder = UMT5EncoderModel.from_pretrained(model_dir / "text_encoder", dtype=torch.float32).eval()
    pipeline = WanPipeline(tokenizer=tokenizer, text_encoder=encoder, transformer=None, vae=None, scheduler=None)
    expected = pipeline._get_t5_prompt_embeds(prompts, max_sequence_length=min(512, tokenizer.model_max_length))
    ours, _ = probe("text", model_dir, {"none": torch.zeros(1)}, {"prompts": json.dumps(prompts)})
    check_error(record_property, torch.cat([ours[f"embeds.{i}"] for i in range(len(prompts))]), expected, 1e-4)

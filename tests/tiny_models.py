"""Small models with random weights, saved as any model of Hugging Face or spaCy is; made once a run of pytest."""

from pathlib import Path
from typing import Any

import torch

WAVE = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
BERT = {"hidden_size": 12, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
SPEECH = ("wav2vec2", "wav2vec2_layer", "hubert_layer", "wavlm_layer", "whisper")
PIECES = ("the", "rabbit", "al", "##ice", "was", "be", "##gin", "##ning", "to", "get", "very", "tired", ",", ".", "cat")


def speech(folder: Path, kind: str) -> str:
    """A speech model; ``_layer``: with layer norm in its convolutions and an attention mask, as the large models are."""
    import transformers

    torch.manual_seed(0)
    config: Any
    if kind == "whisper":
        sizes = {"encoder_layers": 3, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
        config = transformers.WhisperConfig(
            **sizes, d_model=16, encoder_ffn_dim=24, decoder_ffn_dim=24, vocab_size=50, num_mel_bins=80, pad_token_id=0
        )
        config.bos_token_id = config.eos_token_id = config.decoder_start_token_id = 1
        model: Any = transformers.WhisperModel(config)
        extractor: Any = transformers.WhisperFeatureExtractor()
    else:
        name, _, norm = kind.partition("_")
        configs = {
            "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model),
            "hubert": (transformers.HubertConfig, transformers.HubertModel),
            "wavlm": (transformers.WavLMConfig, transformers.WavLMModel),
        }[name]
        layer = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True} if norm else {}
        model = configs[1](configs[0](**WAVE, **layer))
        extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=bool(norm))
    model.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return str(folder)


def bert(folder: Path) -> str:
    """A BERT with a vocabulary of a few pieces of words."""
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {piece: number for number, piece in enumerate([*special, *PIECES])}
    made = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), special, strict=True))
    transformers.PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=32, **names).save_pretrained(folder)
    torch.manual_seed(0)
    config = transformers.BertConfig(**BERT, vocab_size=len(vocabulary), max_position_embeddings=32)
    transformers.BertModel(config).save_pretrained(folder)
    return str(folder)


def xlm_roberta(folder: Path) -> str:
    """An XLM-R whose pieces carry the space before a word."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁the", "▁rabbit", "▁al", "ice", "▁was", "▁be", "gin", "ning", ",", ".", "▁cat"]
    made = Tokenizer(models.Unigram([(piece, -1.0 - 0.01 * i) for i, piece in enumerate(pieces)], unk_id=3))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False)
    names = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>"}
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", unk_token="<unk>", model_max_length=32, **names
    ).save_pretrained(folder)
    torch.manual_seed(1)
    config = transformers.XLMRobertaConfig(**BERT, vocab_size=len(pieces), max_position_embeddings=36, pad_token_id=1)
    transformers.XLMRobertaModel(config).save_pretrained(folder)
    return str(folder)


def spacy_pipeline(folder: Path, *, vectors: bool = True) -> str:
    """A pipeline that knows the vectors and the parts of speech of a few words; without vectors, context tensors of 8."""
    import numpy as np
    import spacy

    network = spacy.blank("en")
    if vectors:
        for number, word in enumerate(("the", "rabbit", "cat", "tired", "was")):
            network.vocab.set_vector(word, np.eye(6, dtype=np.float32)[number] * (number + 1))
    else:
        network.add_pipe("tok2vec", config={"model": {"width": 8, "depth": 1, "embed_size": 50}})
        network.initialize()
    tags = network.add_pipe("attribute_ruler")
    for tag, words in (
        ("DET", ["the"]),
        ("NOUN", ["rabbit", "cat"]),
        ("ADJ", ["tired"]),
        ("AUX", ["was"]),
        ("PUNCT", [",", "."]),
    ):
        tags.add([[{"LOWER": word}] for word in words], {"POS": tag})
    network.to_disk(folder)
    return str(folder)


def save(folder: Path, kind: str) -> str:
    """The folder of a model of one of these kinds."""
    if kind in SPEECH:
        return speech(folder, kind)
    return {"bert": bert, "xlm_roberta": xlm_roberta, "spacy": spacy_pipeline}[kind](folder)

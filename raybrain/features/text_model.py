"""Text models: representations of words in their sentence by BERT, XLM-R and similar models."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, NonNegativeInt

from raybrain.config import InputError
from raybrain.features.base import Stimulus
from raybrain.features.pretrained import Pretrained, hidden_states
from raybrain.features.sentences import sentences

if TYPE_CHECKING:
    from torch import Tensor

BATCH = 32  # sentences per batch on a GPU
TOKENS = 512  # the assumed input length of a model that does not declare one


@dataclass(frozen=True)
class Tokens:
    """Tokens that are processed together: those of a sentence, or of a part of one that is too long for the model.

    Attributes:
        ids: of the tokens.
        places: for each token, its first character in the sentence and the one after its last; (0, 0) for special tokens.
    """

    ids: list[int]
    places: list[tuple[int, int]]

    def of(self, place: tuple[int, int]) -> list[int]:
        """The numbers of the tokens that overlap with some characters."""
        return [number for number, (start, stop) in enumerate(self.places) if start < place[1] and stop > place[0]]


class TextFeature(Pretrained):
    """A vector for each word while it is spoken; 0 between words. A word of several tokens gets the mean of their vectors.

    A word is read in its sentence, which never extends beyond the stimulus.
    """

    unit: ClassVar[str] = "activation"

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        """The vectors of all words."""
        return next(self._extract_group([stimulus], "cpu"))

    def extract_many(self, stimuli: Sequence[Stimulus], device: str = "cpu") -> Iterator[np.ndarray]:
        """The frames of several stimuli. Sentences are batched on a GPU; on a CPU they are not, so that results are exact."""
        for group in [stimuli] if device != "cpu" else [[stimulus] for stimulus in stimuli]:
            yield from self._extract_group(group, device)

    def _extract_group(self, stimuli: Sequence[Stimulus], device: str) -> Iterator[np.ndarray]:
        out = [self.frames(stimulus) for stimulus in stimuli]
        read = [sentences(stimulus) for stimulus in stimuli]
        tokens = [[self._tokens(sentence.text) for sentence in group] for group in read]
        states = self._run_all([part for group in tokens for parts in group for part in parts], device)
        for frames, group, pieces in zip(out, read, tokens, strict=True):
            for sentence, parts in zip(group, pieces, strict=True):
                for word, place in zip(sentence.words, sentence.places, strict=True):
                    part, numbers = _best(parts, place)
                    frames[self.span(word, len(frames))] = states[id(part)][numbers].mean(axis=0) if numbers else 0.0
        return iter(out)

    def _run_all(self, parts: Sequence[Tokens], device: str) -> dict[int, np.ndarray]:
        """The model's output for each part, by its id(); parts of similar length are batched."""
        states: dict[int, np.ndarray] = {}
        size = BATCH if device != "cpu" else 1
        ordered = sorted(parts, key=lambda part: len(part.ids))
        for start in range(0, len(ordered), size):
            batch = ordered[start : start + size]
            outputs = self.run([part.ids for part in batch], device)
            states |= {id(part): output for part, output in zip(batch, outputs, strict=True)}
        return states

    def run(self, ids: Sequence[list[int]], device: str) -> list[np.ndarray]:
        """The model's output for several rows of tokens, each [tokens size] float32, as if each were processed alone."""
        import torch

        net = self.network(device)
        if net.main_input_name != "input_ids":
            raise InputError(f"{self.checkpoint} reads {net.main_input_name}, not text")
        fill = self.settings().pad_token_id or 0
        rows = torch.nn.utils.rnn.pad_sequence([torch.tensor(row) for row in ids], batch_first=True, padding_value=fill)
        mask = torch.arange(rows.shape[1]) < torch.tensor([len(row) for row in ids])[:, None]
        with torch.inference_mode(), torch.autocast(torch.device(device).type, enabled=False):
            states = self._states(net, rows.to(device), mask.long().to(device)).float().cpu().numpy()
        return [states[number, : len(row)] for number, row in enumerate(ids)]

    def _states(self, net: Any, ids: "Tensor", mask: "Tensor") -> "Tensor":
        """The model's output [batch tokens size]."""
        raise NotImplementedError

    def _tokens(self, text: str) -> list[Tokens]:
        tokenizer = self.tool("AutoTokenizer")
        if 2 * len(tokenizer) < self.settings().vocab_size:  # transformers makes an empty one if the files are missing
            raise InputError(f"{self.checkpoint} has {self.settings().vocab_size} tokens but a tokenizer of {len(tokenizer)}")
        if not tokenizer.is_fast:
            raise InputError(f"{self.checkpoint} has no fast tokenizer, which is needed to locate its tokens in a text")
        # two fewer than there are positions: RoBERTa and similar models number them from 2
        limit = min(tokenizer.model_max_length, getattr(self.settings(), "max_position_embeddings", TOKENS + 2) - 2)
        encoded = tokenizer(
            text,
            truncation=True,
            max_length=limit,
            stride=limit // 2 - tokenizer.num_special_tokens_to_add(),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        return [Tokens(ids, places) for ids, places in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)]


def _best(tokens: Sequence[Tokens], place: tuple[int, int]) -> tuple[Tokens, list[int]]:
    """The part in which a word has the most context on its shorter side, and the numbers of the word's tokens in it."""

    def context(candidate: tuple[Tokens, list[int]]) -> int:
        part, numbers = candidate
        return min(numbers[0], len(part.ids) - 1 - numbers[-1]) if numbers else -1

    return max(((part, part.of(place)) for part in tokens), key=context)


class TextModel(TextFeature, name="text_model", shorthand="checkpoint"):
    """Hidden states of a text model, in context: multilingual BERT as in the paper, ``xlm-roberta-large``, or any other.

    Attributes:
        layers: which hidden states; 0 is the input of the first transformer layer, k the output of the k-th.
        combine: take the mean of the layers, or concatenate them.
    """

    checkpoint: str = Field("bert-base-multilingual-cased", min_length=1)
    layers: tuple[NonNegativeInt, ...] = Field((8, 9, 10), min_length=1)
    combine: Literal["mean", "concat"] = "mean"

    @property
    def size(self) -> int:
        """The width of the model, times the number of layers if they are concatenated."""
        config = self.settings()
        hidden_states(config, self.layers, self.checkpoint)
        return int(config.hidden_size) * (len(self.layers) if self.combine == "concat" else 1)

    def _states(self, net: Any, ids: "Tensor", mask: "Tensor") -> "Tensor":
        import torch

        states = net(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        chosen = [states[layer] for layer in self.layers]
        return torch.cat(chosen, dim=-1) if self.combine == "concat" else torch.stack(chosen).mean(dim=0)


class TextEmbedding(TextFeature, name="text_embedding", shorthand="checkpoint"):
    """The input embeddings of a text model's tokens, XLM-R's by default, which do not depend on context."""

    checkpoint: str = Field("xlm-roberta-large", min_length=1)

    @property
    def size(self) -> int:
        """The width of the model."""
        return int(self.settings().hidden_size)

    def _states(self, net: Any, ids: "Tensor", mask: "Tensor") -> "Tensor":
        states: Tensor = net.get_input_embeddings()(ids)
        return states

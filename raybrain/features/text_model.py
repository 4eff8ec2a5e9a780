"""Text models: what BERT, XLM-R and their like make of words in their sentence."""

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

BATCH = 32  # sentences a GPU takes at once
TOKENS = 512  # a model that does not say what it can take is given this many


@dataclass(frozen=True)
class Tokens:
    """Tokens that are run at once: a sentence, or a stretch of one that is too long for the model.

    ``places`` are the characters of the sentence each token stands for; a special token stands for none.
    """

    ids: list[int]
    places: list[tuple[int, int]]

    def of(self, place: tuple[int, int]) -> list[int]:
        """The tokens that have a part in some characters."""
        return [number for number, (start, stop) in enumerate(self.places) if start < place[1] and stop > place[0]]


class TextFeature(Pretrained):
    """A vector a word, for as long as it is spoken; 0 between words. A word of several tokens gets their mean.

    A word is read in its sentence, which never reaches beyond the stimulus.
    """

    unit: ClassVar[str] = "activation"

    def extract(self, stimulus: Stimulus) -> np.ndarray:
        """The vectors of all words."""
        return next(self._together([stimulus], "cpu"))

    def extract_many(self, stimuli: Sequence[Stimulus], device: str = "cpu") -> Iterator[np.ndarray]:
        """The frames of some stimuli. A GPU takes several sentences at once, a CPU one: there it is the same bit for bit."""
        for some in [stimuli] if device != "cpu" else [[stimulus] for stimulus in stimuli]:
            yield from self._together(some, device)

    def _together(self, stimuli: Sequence[Stimulus], device: str) -> Iterator[np.ndarray]:
        out = [self.frames(stimulus) for stimulus in stimuli]
        found = [sentences(stimulus) for stimulus in stimuli]
        tokens = [[self._tokens(sentence.text) for sentence in some] for some in found]
        states = self._run_all([one for some in tokens for stretches in some for one in stretches], device)
        for frames, some, pieces in zip(out, found, tokens, strict=True):
            for sentence, stretches in zip(some, pieces, strict=True):
                for word, place in zip(sentence.words, sentence.places, strict=True):
                    stretch, numbers = _best(stretches, place)
                    frames[self.span(word, len(frames))] = states[id(stretch)][numbers].mean(axis=0) if numbers else 0.0
        return iter(out)

    def _run_all(self, stretches: Sequence[Tokens], device: str) -> dict[int, np.ndarray]:
        """What the model makes of each, by its id; those of about one length at once."""
        states: dict[int, np.ndarray] = {}
        size = BATCH if device != "cpu" else 1
        ordered = sorted(stretches, key=lambda one: len(one.ids))
        for at in range(0, len(ordered), size):
            batch = ordered[at : at + size]
            states |= {id(one): made for one, made in zip(batch, self.run([one.ids for one in batch], device), strict=True)}
        return states

    def run(self, ids: Sequence[list[int]], device: str) -> list[np.ndarray]:
        """What the model makes of some rows of tokens at once, each [tokens size] float32, as if it were run alone."""
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
        """[batch tokens size]."""
        raise NotImplementedError

    def _tokens(self, text: str) -> list[Tokens]:
        tokenizer = self.tool("AutoTokenizer")
        if 2 * len(tokenizer) < self.settings().vocab_size:  # transformers makes an empty one where the files are missing
            raise InputError(f"{self.checkpoint} has {self.settings().vocab_size} tokens and a tokenizer of {len(tokenizer)}")
        if not tokenizer.is_fast:
            raise InputError(f"{self.checkpoint} has no fast tokenizer, which alone knows where in a text its tokens lie")
        # two less than there are positions: RoBERTa and its like number them from 2
        limit = min(tokenizer.model_max_length, getattr(self.settings(), "max_position_embeddings", TOKENS + 2) - 2)
        made = tokenizer(
            text,
            truncation=True,
            max_length=limit,
            stride=limit // 2 - tokenizer.num_special_tokens_to_add(),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        return [Tokens(ids, places) for ids, places in zip(made["input_ids"], made["offset_mapping"], strict=True)]


def _best(tokens: Sequence[Tokens], place: tuple[int, int]) -> tuple[Tokens, list[int]]:
    """The stretch in which a word has the most context on the side where it has less, and the word's tokens in it."""

    def context(found: tuple[Tokens, list[int]]) -> int:
        one, numbers = found
        return min(numbers[0], len(one.ids) - 1 - numbers[-1]) if numbers else -1

    return max(((one, one.of(place)) for one in tokens), key=context)


class TextModel(TextFeature, name="text_model", shorthand="checkpoint"):
    """Hidden states of a text model, in context: multilingual BERT as in the paper, ``xlm-roberta-large``, any other.

    Attributes:
        layers: which hidden states; 0 is what enters the first transformer layer, k what leaves the k-th.
        combine: their mean, or all of them side by side.
    """

    checkpoint: str = Field("bert-base-multilingual-cased", min_length=1)
    layers: tuple[NonNegativeInt, ...] = Field((8, 9, 10), min_length=1)
    combine: Literal["mean", "concat"] = "mean"

    @property
    def size(self) -> int:
        """The width of the model, as often as there are layers side by side."""
        config = self.settings()
        hidden_states(config, self.layers, self.checkpoint)
        return int(config.hidden_size) * (len(self.layers) if self.combine == "concat" else 1)

    def _states(self, net: Any, ids: "Tensor", mask: "Tensor") -> "Tensor":
        import torch

        states = net(input_ids=ids, attention_mask=mask, output_hidden_states=True).hidden_states
        chosen = [states[layer] for layer in self.layers]
        return torch.cat(chosen, dim=-1) if self.combine == "concat" else torch.stack(chosen).mean(dim=0)


class TextEmbedding(TextFeature, name="text_embedding", shorthand="checkpoint"):
    """The raw vectors that a text model has for its tokens, XLM-R's by default: the same whatever stands beside a word."""

    checkpoint: str = Field("xlm-roberta-large", min_length=1)

    @property
    def size(self) -> int:
        """The width of the model."""
        return int(self.settings().hidden_size)

    def _states(self, net: Any, ids: "Tensor", mask: "Tensor") -> "Tensor":
        states: Tensor = net.get_input_embeddings()(ids)
        return states

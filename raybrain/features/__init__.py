"""Features: descriptions of speech over time. To add a kind, add a file; see :mod:`raybrain.features.base`.

``raybrain list features`` shows what there is::

    mel, envelope, pitch      spectrum, loudness, fundamental frequency by YIN           needs sound
    wave                      the sound itself, for speech_encoder=wave                  needs sound
    speech_model              hidden states of wav2vec 2.0 (default), HuBERT, WavLM,
                              Whisper's encoder                                          needs sound and the model
    speech_model_conv         convolutional features of the first three                  needs sound and the model
    word_length, ...          a word's label and time: length, position, frequency,
                              hash, segment, pulse; modality                             needs words
    phoneme, phoneme_pulse    which phoneme, and where it changes                        needs phonemes
    text_model                hidden states of multilingual BERT (default), XLM-R, any
                              text model, in the sentence                                needs words and the model
    text_embedding            raw token vectors, XLM-R's by default                      needs words and the model
    spacy_vector,             spaCy's, in the language of the word                       needs words, raybrain[text],
    part_of_speech                                                                       a pipeline

``data.features`` names one or several; side by side they are one target, in which each keeps its own place and scale
(``scale``: one for ``all``, one for each ``dimension``, or ``none``). A feature of classes becomes one dimension per class,
and ``loss=mixed`` does regression on quantities and class-weighted cross-entropy on classes. A model is named as on Hugging
Face, or is a folder; ``revision`` picks a commit, ``random=true`` is the same network untrained. Layer 0 is what enters a
model's first transformer layer, k what leaves the k-th. ``stored_as=float16`` halves the room that large features take.
Models are fetched once per machine, by hand: ``hf download openai/whisper-base``.

Each feature is extracted once for every unique stimulus, whoever heard it and whichever study, split or filter
asks for it again. A stimulus is named by the bytes of its sound and by its words; a feature by its settings, its code and
its model, so a new revision of a model makes new frames and nothing else does. Models stay in memory in a pool of
processes, on GPUs where there are any. A sound is cut where blocks meet, and a sentence is read as far as it lies inside
one stimulus, so that no model sees across a split.
"""

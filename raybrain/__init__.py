"""raybrain: which model, features and training decode speech best from MEG and EEG."""

__version__ = "0.1.0"

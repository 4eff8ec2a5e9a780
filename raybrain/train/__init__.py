"""Train: from a store to a trained encoder. Ray Train only in worker.py and run.py; step.py and loop.py know no Ray."""

"""Rates: how fast the workers of a cluster are and what they cost, where a person knows it; for estimates alone."""

from pydantic import Field, PositiveInt

from raybrain.config import Config


class Rates(Config):
    """What an estimate goes by. Prices are in whatever money they are typed in; 0 where nothing is to be paid.

    Attributes:
        segments_s: segments that a worker trains on in a second, as measured there; 0 goes by this machine.
        workers: workers that there are in all, for sweeps; 0 for as many as one training takes.
        workers_per_node: such as GPUs of a machine.
        worker_hour: price of a worker for an hour, with its share of the machine.
        gb_month: price of keeping a gigabyte of prepared data for a month.
        gb: price of moving a gigabyte between machines.
    """

    segments_s: float = Field(default=0.0, ge=0)
    workers: int = Field(default=0, ge=0)
    workers_per_node: PositiveInt = 8
    worker_hour: float = Field(default=0.0, ge=0)
    gb_month: float = Field(default=0.0, ge=0)
    gb: float = Field(default=0.0, ge=0)

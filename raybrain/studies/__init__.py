"""Studies: where recordings come from. One folder per dataset; to add one, see :mod:`raybrain.studies.base`.

A study of one's own needs no code if it is a BIDS folder (:mod:`raybrain.studies.bids`). Public studies are downloaded when
they are first used, or beforehand, on another machine too::

    raybrain studies fetch gwilliams2022 --dry-run   # what is offered where, how large it is, what is there already
    raybrain studies fetch gwilliams2022             # again and again: it goes on where it was
    raybrain studies check gwilliams2022             # what is missing, too short or odd, recording by recording

Downloads are resumed, checked against the checksums of the host, and lie in ``studies/NAME`` of the home folder. If you have
a study already, put it there, or a link to it: a folder that raybrain did not make is used as it is. Where a host wants to
know who you are, set variables: ``RAYBRAIN_DONDERS_USER`` and ``RAYBRAIN_DONDERS_PASSWORD`` (schoffelen2019),
``RAYBRAIN_DRYAD_ID`` and ``RAYBRAIN_DRYAD_SECRET`` (the .mat files of broderick2019), ``RAYBRAIN_OSF_TOKEN`` (OSF, which
otherwise allows a hundred requests an hour).

A comma separates two studies; a path that holds one goes in double quotes: ``'data.studies="bids:/data/a, b"'``.
``data.studies.brennan2019.subject_set=paper`` picks the subjects of Défossez et al. 2023.
"""

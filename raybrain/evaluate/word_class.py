"""Word class: content or function word, by the closed classes of a language.

Function words are the closed classes of Universal Dependencies (https://universaldependencies.org/u/pos: adposition,
auxiliary, conjunction, determiner, particle and pronoun; numbers count as content). They can be listed, so nothing has to be
installed, and a word has one class wherever it stands: "that" is a function word, "like" a content word, whatever they are in
their sentence.
"""

CONTENT, FUNCTION = "content", "function"
_LISTS = {
    "en": """
        a an the this that these those each every either neither some any no all both half such what which whose another other
        many much few several enough more most less least own same
        i me my mine myself you your yours yourself yourselves thou thee thy he him his himself she her hers herself it its
        itself we us our ours ourselves they them their theirs themselves one oneself who whom whoever whatever whichever
        someone somebody something anyone anybody anything everyone everybody everything nobody nothing none there
        about above across after against along among amongst around as at before behind below beneath beside besides between
        beyond but by despite down during except for from in inside into near of off on onto out outside over past per since
        through throughout till to toward towards under underneath until unto up upon via with within without
        and or nor yet so if because although though unless while whereas whether than when whenever where wherever why how
        lest once
        am is are was were be been being have has had having do does did doing done will would shall should can could may
        might must ought cannot not
        n't aint ain arent cant couldnt didnt doesnt dont hadnt hasnt havent isnt mustnt shouldnt wasnt werent wont wouldnt
        gonna gotta
    """,
    "nl": """
        de het een deze die dit dat elk elke ieder iedere enig enige geen alle al beide beiden sommige veel weinig meer meest
        minder minst menig menige zulk zulke zo'n welk welke wat andere ander zelf zelfde
        ik me mij mijn mezelf jij je jou jouw jezelf u uw uzelf hij hem zijn zich zichzelf zij ze haar wij we ons onze onszelf
        jullie hun hen men wie wiens iemand niemand iets niets alles iedereen er hier daar
        aan achter af als behalve beneden bij binnen boven buiten dan door gedurende in langs met na naar naast naartoe namens
        nabij om omtrent ondanks onder op over per rond rondom sinds te tegen tegenover ten ter tijdens tot tussen uit van
        vanaf vanuit vanwege via volgens voor voorbij wegens zonder heen mee toe toen
        en of maar want dus noch omdat doordat zodat opdat hoewel ofschoon terwijl tenzij mits indien zodra totdat voordat
        nadat zoals hoe waar wanneer waarom
        ben bent is was waren wees geweest heb hebt heeft had hadden hebben gehad word wordt werd werden worden geworden zal
        zult zullen zou zouden kan kun kunt kon konden kunnen mag mocht mochten mogen moet moest moesten moeten wil wilt wilde
        wilden willen niet
    """,
}
FUNCTION_WORDS = {language: frozenset(words.split()) for language, words in _LISTS.items()}


def language_code(language: str) -> str:
    """The language without its region; no language counts as English.

    >>> language_code("en-GB"), language_code("nl"), language_code("")
    ('en', 'nl', 'en')
    """
    return (language or "en").replace("_", "-").partition("-")[0].lower()


def word_class(word: str, language: str) -> str | None:
    """Whether a word is a content or a function word; None in a language that is not listed.

    >>> [word_class(word, "en") for word in ("The", "ship", "don't", "John's", "it's")]
    ['function', 'content', 'function', 'content', 'function']
    """
    known = FUNCTION_WORDS.get(language_code(language))
    if known is None:
        return None
    plain = word.casefold().replace("\u2019", "'").strip(' .,;:!?"()[]-')
    stem, _, ending = plain.partition("'")
    parts = {plain, plain.replace("'", "")} | ({stem} if ending else set())
    return FUNCTION if parts & known else CONTENT

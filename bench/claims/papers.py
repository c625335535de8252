"""Claims: what the papers say about each other, as inequalities. bench/claims/verdicts.py tests
them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass


@dataclass(frozen=True)
class Term:
    """One number: a system's score, one of its parts, or the mean of several parts."""

    row: str
    metric: str
    part: str | tuple[str, ...] = ""

    def __str__(self) -> str:
        return f"{self.row} {self.label}".strip()

    @property
    def label(self) -> str:
        """The name of the part, as printed."""
        return self.part if isinstance(self.part, str) else "expressions"


@dataclass(frozen=True)
class Less:
    """The inequality small < large; one of them may be a number."""

    small: Term | float
    large: Term | float

    @property
    def terms(self) -> list[Term]:
        """Those that are measured."""
        return [term for term in (self.small, self.large) if isinstance(term, Term)]


@dataclass(frozen=True)
class Claim:
    """A statement of a paper and its inequalities; all of them must hold.

    context: numbers that are printed with the verdict but not tested, for claims that could hold
    for another reason (weak edits preserve identity by construction).
    """

    number: str
    sentence: str
    source: str
    inequalities: tuple[Less, ...]
    context: tuple[Term, ...] = ()

    @property
    def metrics(self) -> dict[str, set[str]]:
        """System -> metrics that the claim needs."""
        needed: dict[str, set[str]] = {}
        for less in self.inequalities:
            for term in less.terms:
                needed.setdefault(term.row, set()).add(term.metric)
        return needed


# The claims ---------------------------------------------------------------------------------------


def claims(emotions: tuple[str, ...], rows: tuple[str, ...]) -> list[Claim]:
    """The claims that these emotions and systems (methods and ablations) allow, by number."""
    others = emotions[1:]
    labels = "ganimation_labels" if "ganimation_labels" in rows else "ganimation"
    every = [
        *_ganmut(emotions, others, rows, labels),
        *_one_drawing(emotions, rows),
        *_other_papers(others),
    ]

    def place(claim: Claim) -> tuple[int, bool, str]:
        first = int(claim.number.split(",")[0].rstrip("ab"))
        return first, "one drawing" in claim.number, claim.number  # the paper's own first

    return sorted(every, key=place)


def _ganmut(
    emotions: tuple[str, ...], others: tuple[str, ...], rows: tuple[str, ...], labels: str
) -> list[Claim]:
    """The claims of the GANmut paper.

    Its GANimation was trained on emotion labels. Where no such weights are measured, the one
    trained on action units replaces it, and the sentence says so. Claim 5a ranges over the methods
    of table 3 that are measured.
    """
    training = "with labels" if labels != "ganimation" else "with action units"
    paper, ganimation = "GANmut (CVPR 2021)", f"GANimation ({training})"
    smooth = _less("smoothness", "ganmut", "stargan", others)
    table3 = [row for row in ("stargan", labels, "smit", "ganmut") if row in rows]
    most = tuple(Less(Term(row, "accuracy"), Term("gganmut", "accuracy")) for row in table3)
    least = _lowest("ganmut", emotions, "disgusted")
    order = f"ERE: GGANmut < GANmut < SMIT < {ganimation} and StarGAN"
    ere = {
        k: (
            *_order(f"ere@{k}", "gganmut", "ganmut", "smit", labels),
            *_order(f"ere@{k}", "smit", "stargan"),
        )
        for k in (1, 2)
    }
    # "Fails to use random styles" is tested as reach: a search over 63 styles an emotion brings
    # StarGAN v2 no nearer to real distributions than the same number of soft labels brings StarGAN,
    # which has no styles. Accuracy is printed as context, because a method that also missed the
    # labels would make the claim hold for another reason.
    styles = tuple(
        less for k in (1, 2) for less in _less(f"ere@{k}", "stargan", "stargan_v2", ("equal",))
    )
    return [
        Claim(
            "1",
            "GANmut is smoother than StarGAN on each emotion",
            f"{paper}, section 5.2",
            smooth,
        ),
        Claim(
            "2",
            "lambda_rho 4 is smoother than lambda_rho 1",
            f"{paper}, ablation",
            _order("smoothness", "ganmut", "ganmut_rho1"),
        ),
        Claim(
            "3",
            f"FED: GANmut < SMIT < {ganimation} < StarGAN < GGANmut",
            f"{paper}, section 5",
            _order("fed", "ganmut", "smit", labels, "stargan", "gganmut"),
        ),
        Claim("4, setting 1", order, f"{paper}, section 5.3", ere[1]),
        Claim("4, setting 2", order, f"{paper}, section 5.3", ere[2]),
        Claim(
            "5a",
            "GGANmut has the highest accuracy",
            f"{paper}, table 3",
            most or _order("accuracy", "any other method", "gganmut"),
        ),
        Claim(
            "5b",
            "Disgusted has the lowest accuracy of GANmut's emotions",
            f"{paper}, table 3",
            least,
        ),
        Claim(
            "9a",
            "StarGAN v2 does not use style for expression: with an equal budget of codes, its "
            "styles have a higher ERE than StarGAN's soft labels",
            f"{paper}, supplement, section 7",
            styles,
            _context("accuracy", "stargan_v2", "stargan"),
        ),
        Claim(
            "9b",
            "Styles of StarGAN v2 and SMIT change the expression less than labels do: the softmax "
            "varies less over styles than between emotions",
            f"{paper}, supplement, section 7",
            tuple(Less(Term(row, "style_share"), 1.0) for row in ("stargan_v2", "smit")),
        ),
        *_gamut(paper, tuple(table3), smooth),
    ]


def _gamut(paper: str, table3: tuple[str, ...], smooth: tuple[Less, ...]) -> list[Claim]:
    """The claims of the GANmut paper about ambiguity and about the learned spaces. smooth: the
    inequalities of its claim about smoothness.

    "About half" is tested as between a third and two thirds. "Opposite" is a negative cosine of the
    centres of probability. "Low radius" is the lower half of the path from neutral to an emotion.
    "Up to four" is four or more on most faces: a mean above three and a half. "The same mixture" is
    a total variation below .05 between the classifier's distributions. "Never worse" is tested on
    the numbers that the paper gives of both; in accuracy StarGAN leads there too.
    """
    gamut = "gamut_share"
    return [
        Claim(
            "10",
            "Real faces are more ambiguous than the edits of all methods: they have the lowest "
            "accuracy",
            f"{paper}, table 3",
            tuple(
                Less(Term("real_split", "accuracy"), Term(row, "accuracy"))
                for row in (*table3, "gganmut")
            ),
        ),
        Claim(
            "11a",
            "Happy takes about half of GANmut's disc",
            f"{paper}, section 5.1",
            (
                Less(1 / 3, Term("ganmut", gamut, "happy")),
                Less(Term("ganmut", gamut, "happy"), 2 / 3),
            ),
        ),
        Claim(
            "11b",
            "Happy lies opposite the emotions of negative valence on GANmut's disc",
            f"{paper}, section 5.1",
            (Less(Term("ganmut", gamut, "cosine of happy and negative"), 0.0),),
        ),
        Claim(
            "12",
            "GGANmut is closer to real faces (FED) under codes of its whole square than at its "
            "modes",
            f"{paper}, supplement, section 5",
            (Less(Term("gganmut", "fed_uniform"), Term("gganmut", "fed")),),
        ),
        Claim(
            "13",
            "GANmut is smoother at low radius than at high radius",
            f"{paper}, supplement, section 6",
            (
                Less(
                    Term("ganmut", "steps_by_radius", "lower half"),
                    Term("ganmut", "steps_by_radius", "upper half"),
                ),
            ),
        ),
        Claim(
            "14a",
            "GANmut's disc shows mixtures of up to four emotions",
            f"{paper}, section 5.4",
            (Less(3.5, Term("ganmut", "gamut_mixtures")),),
        ),
        Claim(
            "14b",
            "Different codes of GANmut's disc show the same mixture of emotions",
            f"{paper}, section 5.4 and supplement, figures 2 to 5 and 7",
            (Less(Term("ganmut", "gamut_mixtures", "same mixture"), 0.05),),
        ),
        Claim(
            "15",
            "GANmut is never worse than StarGAN: in FED, in ERE, in smoothness on each emotion",
            f"{paper}, supplement, section 8",
            (
                *_order("fed", "ganmut", "stargan"),
                *_order("ere@1", "ganmut", "stargan"),
                *_order("ere@2", "ganmut", "stargan"),
                *smooth,
            ),
        ),
    ]


def _one_drawing(emotions: tuple[str, ...], rows: tuple[str, ...]) -> list[Claim]:
    """The claims of the GANmut paper about its own spaces and the others', of methods that share
    the drawing of the expression model: what is left of them is about the spaces alone.

    GANimation has no space to learn there and is left out of the orders; SMIT and StarGAN v2 are in
    them where they are measured.
    """
    titles = {"StarGAN": "stargan", "GANmut": "ganmut", "GGANmut": "gganmut"}
    titles |= {"SMIT": "smit", "StarGAN v2": "stargan_v2"}
    drawn = {title: f"{name}_expression" for title, name in titles.items()}
    if not {drawn[title] for title in ("StarGAN", "GANmut", "GGANmut")} <= set(rows):
        return []
    drawn = {title: row for title, row in drawn.items() if row in rows}
    paper = "GANmut (CVPR 2021), on the expression model"

    def measured(*names: str) -> tuple[str, tuple[str, ...]]:
        """The measured ones in this order, as a sentence has them and as rows."""
        known = [name for name in names if name in drawn]
        return " < ".join(known), tuple(drawn[name] for name in known)

    fed, fed_rows = measured("GANmut", "SMIT", "StarGAN", "GGANmut")
    ere, ere_rows = measured("GGANmut", "GANmut", "SMIT", "StarGAN")
    _, table3 = measured("StarGAN", "SMIT", "GANmut")
    found = [
        Claim(
            "1, one drawing",
            "GANmut is smoother than StarGAN on each emotion",
            f"{paper}, section 5.2",
            _less("smoothness", drawn["GANmut"], drawn["StarGAN"], emotions[1:]),
        ),
        Claim("3, one drawing", f"FED: {fed}", f"{paper}, section 5", _order("fed", *fed_rows)),
        Claim(
            "4, one drawing",
            f"ERE: {ere}, in both settings",
            f"{paper}, section 5.3",
            tuple(less for k in (1, 2) for less in _order(f"ere@{k}", *ere_rows)),
        ),
        Claim(
            "5a, one drawing",
            "GGANmut has the highest accuracy",
            f"{paper}, table 3",
            tuple(
                Less(Term(row, "accuracy"), Term(drawn["GGANmut"], "accuracy")) for row in table3
            ),
        ),
        Claim(
            "5b, one drawing",
            "Disgusted has the lowest accuracy of GANmut's emotions",
            f"{paper}, table 3",
            _lowest(drawn["GANmut"], emotions, "disgusted"),
        ),
    ]
    return found + _styles(drawn, f"{paper}: supplement, section 7")


def _styles(rows: dict[str, str], source: str) -> list[Claim]:
    """The claims about the styles of StarGAN v2 and SMIT on the expression model, by title."""
    if not {"StarGAN v2", "SMIT"} <= set(rows):
        return []
    stargan, stargan_v2, smit = (rows[title] for title in ("StarGAN", "StarGAN v2", "SMIT"))
    reach = (_less(f"ere@{k}", stargan, stargan_v2, ("equal",)) for k in (1, 2))
    return [
        Claim(
            "9a, one drawing",
            "StarGAN v2 does not use style for expression: with an equal budget of codes, its "
            "styles have a higher ERE than StarGAN's soft labels",
            source,
            tuple(less for setting in reach for less in setting),
            _context("accuracy", stargan_v2, stargan),
        ),
        Claim(
            "9b, one drawing",
            "Styles of StarGAN v2 and SMIT change the expression less than labels do",
            source,
            tuple(Less(Term(row, "style_share"), 1.0) for row in (stargan_v2, smit)),
        ),
    ]


def _other_papers(others: tuple[str, ...]) -> list[Claim]:
    """The claims of DefGAN and EF-GAN.

    EF-GAN shows the advantage of its cascade on strong expressions. Here these are the six
    expressions at full intensity, and "closer" is a lower AU error and, where ground truth exists,
    a lower ground-truth L1.
    """
    accuracy = _context("accuracy", "defgan", "ganimation")
    defgan, efgan = "DefGAN (arXiv 1911.00735)", "EF-GAN (CVPR 2020)"
    pair = ("efgan_cascade", "efgan")
    identity = _context("identity_distance", *pair)
    return [
        Claim(
            "6a",
            "DefGAN preserves identity better than GANimation on each emotion",
            f"{defgan}, figures 3 and 8",
            _less("identity_distance", "defgan", "ganimation", others),
            accuracy,
        ),
        Claim(
            "6b",
            "DefGAN has a lower FID than GANimation",
            f"{defgan}, table 1",
            _order("fid", "defgan", "ganimation"),
            accuracy,
        ),
        Claim(
            "7",
            "DefGAN's edits are more localised than GANimation's",
            f"{defgan}, figures 5, 13 and 14",
            _order("edit_localisation", "ganimation", "defgan"),
            accuracy,
        ),
        Claim(
            "8a",
            "At full intensity the cascade is closer to the target action units than the single "
            "EF-GAN",
            efgan,
            _less("au_error", *pair, (others,)),
            identity,
        ),
        Claim(
            "8b",
            "At full intensity the cascade is closer to the ground truth than the single EF-GAN",
            efgan,
            _less("ground_truth_l1", *pair, (others,)),
            identity,
        ),
    ]


def _order(metric: str, *rows: str) -> tuple[Less, ...]:
    """rows[0] < rows[1] < ... on a metric."""
    return tuple(Less(Term(a, metric), Term(b, metric)) for a, b in itertools.pairwise(rows))


def _less(
    metric: str, small: str, large: str, parts: tuple[str | tuple[str, ...], ...]
) -> tuple[Less, ...]:
    """small < large on each of some parts."""
    return tuple(Less(Term(small, metric, part), Term(large, metric, part)) for part in parts)


def _lowest(row: str, emotions: tuple[str, ...], emotion: str) -> tuple[Less, ...]:
    """A row's accuracy on an emotion is lower than on each other one."""
    others = [other for other in emotions if other != emotion]
    return tuple(
        Less(Term(row, "accuracy", emotion), Term(row, "accuracy", other)) for other in others
    )


def _context(metric: str, *rows: str) -> tuple[Term, ...]:
    return tuple(Term(row, metric) for row in rows)

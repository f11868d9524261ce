"""What a report says of each finding: a small rule-based labeller with negation and uncertainty.

After NegEx (Chapman et al. 2001) and the CheXpert labeller (Irvin et al. 2019): terms of a
finding, cues before and after them, a scope that ends at the clause. Of each finding: 1 mentioned
as there, 0 denied, NaN doubted or not mentioned. Weak labels: rules read words, not images.
English only. Knows no catalog and no file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

# Finding (names of core.labels) -> what reports call it.
TERMS: dict[str, str] = {
    "opacity": r"(?:air ?space |lung |pulmonary |focal |patchy )*(?:opacit(?:y|ies)|opacification"
    r"|infiltrat(?:e|es|ion|ions)|airspace disease|air space disease)",
    "ground-glass": r"ground[- ]glass(?: opacit(?:y|ies)| change| density)?|GGOs?",
    "consolidation": r"consolidat(?:ions?|ive changes?|ed lung)",
    "pneumonia": r"(?:broncho)?pneumonias?|pneumonic (?:infiltrate|change|process)|lung infection",
    "covid-19": r"covid(?:[- ]?19)?(?: pneumonia)?|sars[- ]cov[- ]?2",
    "pneumothorax": r"(?:hydro|haemo|hemo)?pneumothora(?:x|ces)|ptx",
    "effusion": r"(?:pleural |parapneumonic )*effusions?|pleural fluid|ha?emothorax|empyema",
}
BEFORE = {  # cues that reach forward to the end of their clause
    "doubt": r"(?:can ?not|can't|could not|unable to|difficult to|not possible to) (?:\w+ )?"
    r"(?:exclude|rule out)|not (?:\w+ )?(?:excluded|ruled out)|no definite(?:ly)?"
    r"|not definite(?:ly)?|no (?:convincing|clear|obvious) evidence (?:of|for)|possib(?:le|ly)"
    r"|probabl[ey]|likely|may(?: represent| reflect| be)?|might|could(?: represent| reflect| be)?"
    r"|suspicio(?:n|us)(?: for| of)?|suspected|question(?:able)?|concern(?:ing)? for"
    r"|\?|versus|vs\.?|rule out|r/o|evaluate for|assess for|equivocal"
    r"|suggest(?:s|ive|ing|ed)?(?: of)?|presumed|differential"
    r"|unlikely to be excluded|consider(?:ation)?",
    "absent": r"(?:no|without|absent|negative for|free of|denies|denied|lack of|absence of|neither"
    r"|nor|not|never|rules? out|ruled out|excludes?|unlikely|(?:resolution|clearing) of"
    r"|resolved|cleared)",
    "present": r"not only|no doubt (?:about|that|of)|without doubt|no question of|there (?:is|are)",
}
# Negations of something else: of a change, of a doubt; the finding itself is there.
STILL_THERE = (
    r"(?:no|not|without)(?: \w+){0,2} (?:change|changes|changed|increase|decrease|improvement|"
    r"resolution|progression|worsening|interval change|difference)(?: (?:in|of|to))?"
    r"|no longer (?:only|just)|not (?:yet )?(?:resolved|cleared)|no (?:further|new) (?:increase|"
    r"growth|enlargement)(?: (?:in|of))?|(?:partial|incomplete|some|near(?:[- ]complete)?)"
    r"(?: interval)? (?:resolution|clearing)(?: of)?|(?:partially|incompletely|nearly) "
    r"(?:resolved|cleared)|unchanged|stable|persistent|residual|known"
)
AFTER = {
    "doubt": r"(?:(?:is|are|was|were|be) )?(?:can ?not|can't|could not) be (?:\w+ )?"
    r"(?:excluded|ruled out)|not (?:\w+ )?(?:excluded|ruled out)|(?:is|are) (?:possible|likely"
    r"|suspected|questionable|considered|probable|unlikely to be excluded)|\?|is a consideration"
    r"|remains? (?:possible|a possibility)|less likely|^\W*(?:versus|vs)",
    "absent": r"(?:(?:is|are|was|were|has been|have been) )?(?:now )?(?:not (?:seen|identified|"
    r"evident|present|visuali[sz]ed|demonstrated|detected|appreciated)|absent|excluded|ruled out"
    r"|resolved|cleared|gone)|(?:is|are) unlikely|unlikely|: ?(?:none|no|absent|negative)"
    r"|no longer (?:seen|present|visible|evident|identified)",
    "present": r"(?:has|have|is|are) not (?:yet )?(?:resolved|cleared|changed|gone|improved)",
}
PAST_LIFE = r"history of|prior episode of|previous episode of|family history|indication|clinical"
# A clause ends here; "and" and "or" carry a negation on, a new verb or "but" does not.
# A line that is wrapped is no sentence's end: the next goes on in small letters, or it was full.
WRAPPED = re.compile(
    r"(?<=[^.!?:;\n])[ \t]*\n[ \t]*(?=[a-z])|(?<=[,(])[ \t]*\n[ \t]*(?=\S)"
    r"|(?<=[^\n]{60})(?<=[^.!?:;\s])[ \t]*\n[ \t]*(?=\S)|(?<=\b(?:or|no|of))[ \t]*\n[ \t]*(?=\S)"
)
# Sections that say why and how, not what is seen, up to a blank line or the next heading.
ASIDE = re.compile(
    r"(?:^[ \t]*|\b)(?:INDICATIONS?|(?:CLINICAL )?HISTORY|CLINICAL (?:INFORMATION|INDICATION)S?"
    r"|REASON FOR (?:THIS |THE )?EXAM(?:INATION)?|TECHNIQUE|COMPARISONS?|EXAM(?:INATION)?)[ \t]*:"
    r"\s*.*?(?=\n[ \t]*\n|\b[A-Z][A-Z /]{3,}:|\Z)",
    re.DOTALL,
)
SENTENCE = re.compile(r"(?<=[.!;])\s+(?=[A-Z0-9(])|\n+|(?<=[a-z]\.)\s+(?=[A-Z])")
BREAK = re.compile(
    r"\b(?:but|however|although|though|except(?: for)?|apart from|aside from|other than|which|yet"
    r"|there (?:is|are)|with (?=(?:a |an )?(?:small|large|new|mild|moderate|patchy|left|right))"
    r"|(?:and|or) (?=(?:a |an )?(?:small|large|new|mild|moderate|patchy)\b))|[;:](?!\s*(?:none|no|"
    r"absent|negative))"
    r"|,(?= (?:(?!n?or\b)[\w-]+ ){1,4}(?:persists?|remains?|(?:has|have) (?:increased|decreased"
    r"|improved|worsened|developed)|(?:is|are) (?:stable|unchanged|larger|smaller))\b)",
    re.IGNORECASE,
)
VALUE = {"present": 1.0, "absent": 0.0, "doubt": math.nan}


@dataclass(frozen=True, slots=True)
class Mention:
    """A finding in a sentence: "present", "absent" or "doubt", and the sentence that decided."""

    finding: str
    says: str
    sentence: str

    @property
    def value(self) -> float:
        """1, 0, or NaN where it is doubted."""
        return VALUE[self.says]


def label_report(text: str, findings: Iterable[str] = tuple(TERMS)) -> dict[str, Mention]:
    """Each finding that the report mentions, with what decides.

    Of several mentions one that says it is there wins, then a doubt, then a denial. A ground-glass
    opacity, and a consolidation, that is there is an opacity that is there.
    """
    wanted, out = tuple(findings), dict[str, Mention]()
    order = ("absent", "doubt", "present")
    for sentence in sentences(text):
        for one in mentions(sentence):
            old = out.get(one.finding)
            if old is None or order.index(one.says) > order.index(old.says):
                out[one.finding] = one
    for kind in ("ground-glass", "consolidation"):
        own, whole = out.get(kind), out.get("opacity")
        if own is not None and own.says == "present" and (not whole or whole.says != "present"):
            out["opacity"] = Mention("opacity", "present", own.sentence)
    return {name: out[name] for name in wanted if name in out}


def sentences(text: str) -> list[str]:
    """The sentences of a report's findings, blanks made single."""
    seen = WRAPPED.sub(" ", ASIDE.sub("\n", text.replace("\r\n", "\n")))
    return [" ".join(part.split()) for part in SENTENCE.split(seen) if part and part.strip()]


def mentions(sentence: str) -> list[Mention]:
    """What a sentence says of each finding it names."""
    if re.match(PAST_LIFE, sentence, re.IGNORECASE):
        return []
    out = []
    for clause in _clauses(sentence):
        for finding, term in TERMS.items():
            for match in re.finditer(rf"\b(?:{term})\b", clause, re.IGNORECASE):
                says = _says(clause[: match.start()], clause[match.end() :])
                out.append(Mention(finding, says, sentence))
    return out


def _clauses(sentence: str) -> list[str]:
    """Cut before the words that begin a new statement; those keep their word."""
    cuts = [0, *(match.start() for match in BREAK.finditer(sentence)), len(sentence)]
    return [sentence[a:b] for a, b in pairwise(cuts) if sentence[a:b].strip()]


def _says(before: str, after: str) -> str:
    """From the cues around a term in its clause.

    What negates a change, or a resolution, is taken away first: "no change in the pneumothorax".
    """
    if _has(AFTER["present"], after[:60]):
        return "present"
    if _has(PAST_LIFE, before):
        return "absent" if _has(r"\bno\b", before) else "doubt"
    before = re.sub(rf"\b(?:{STILL_THERE})\b", " ", before, flags=re.IGNORECASE)
    if _has(AFTER["doubt"], after[:60]) or _has(BEFORE["doubt"], before):
        return "doubt"
    if _has(AFTER["absent"], after[:60]):
        return "absent"
    before = re.sub(rf"\b(?:{BEFORE['present']})\b", " ", before, flags=re.IGNORECASE)
    return "absent" if _has(BEFORE["absent"], before) else "present"


def _has(cue: str, text: str) -> bool:
    return re.search(rf"(?<!\w)(?:{cue})(?!\w)", text, re.IGNORECASE) is not None

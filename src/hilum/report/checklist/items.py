"""The items of CLAIM 2024 and TRIPOD+AI: their numbers, titles in our words, what answers them.

Tejani AS et al. Checklist for Artificial Intelligence in Medical Imaging (CLAIM): 2024 Update.
Radiology: Artificial Intelligence 2024;6(4):e240300. 44 items.
Collins GS et al. TRIPOD+AI statement. BMJ 2024;385:e078378. 27 items, 52 with their parts.
The titles are short names, not the items' text: a journal wants the published forms.
"""

from __future__ import annotations

from dataclasses import dataclass

AUTHORS, PROVIDER, READERS = "the authors", "whoever provides the data", "whoever annotated"


@dataclass(frozen=True, slots=True)
class Item:
    """One item. Facts answer it; what they leave open is for `who`, in words in `add`."""

    number: str
    title: str
    facts: tuple[str, ...] = ()  # of facts.FACTS
    add: str = ""  # empty: the facts are the whole answer
    who: str = AUTHORS


@dataclass(frozen=True, slots=True)
class Checklist:
    name: str
    source: str
    items: tuple[Item, ...]


CLAIM = Checklist(
    name="CLAIM 2024",
    source="Tejani et al., Radiology: Artificial Intelligence 2024;6(4):e240300",
    items=(
        Item("1", "Title names the technology", ("technology",), "the title"),
        Item("2", "Structured summary", (), "the abstract"),
        Item("3", "Background, intended use, clinical role", ("use",), "background and role"),
        Item("4", "Aims and hypotheses", (), "what the study asks"),
        Item("5", "Prospective or retrospective", (), "which of the two"),
        Item("6", "Goal", ("task", "about"), "the kind of study"),
        Item("7", "Sources of data", ("data_sources",)),
        Item(
            *("8", "Who and what was included", ("selection_of_rows",)),
            add="the criteria by which the sets themselves were collected",
            who=PROVIDER,
        ),
        Item("9", "Preprocessing", ("preprocessing",)),
        Item("10", "Subsets of the data", ("selection_of_rows",)),
        Item("11", "De-identification", (), "how, and by which rules", PROVIDER),
        Item("12", "Missing data", ("missing_annotations",)),
        Item("13", "Acquisition", (), "devices, projections, settings", PROVIDER),
        Item(
            *("14", "Reference standard, defined", ("reference_standard",)),
            add="how each annotation was made",
            who=READERS,
        ),
        Item("15", "Reference standard, why this one", (), "the reasons"),
        Item("16", "Who annotated", (), "how many, how qualified, how instructed", READERS),
        Item("17", "How the test data was annotated", (), "procedure and tools", READERS),
        Item("18", "Agreement of annotators", (), "between and within, how settled", READERS),
        Item("19", "Assignment to parts", ("shares_of_patients", "partition")),
        Item("20", "Level at which parts are apart", ("disjoint",)),
        Item("21", "Size of the test data", ("images_tested",), "why it is enough"),
        Item("22", "Architecture", ("architecture",)),
        Item("23", "Software", ("software",)),
        Item("24", "Initialisation", ("initialisation",)),
        Item("25", "Training", ("training", "shares_in_a_batch")),
        Item("26", "Choice of the final model", ("choice_of_model",)),
        Item("27", "Ensembling", ("ensemble",)),
        Item("28", "Metrics", ("metrics",)),
        Item("29", "Uncertainty of the numbers", ("intervals",)),
        Item("30", "Robustness", ("robustness",), "what is made of it"),
        Item("31", "Explanations", (), "whether any were made (hilum explain), how validated"),
        Item("32", "Internal test", ("internal_test",)),
        Item("33", "External test", ("external_test",)),
        Item("34", "Registration of a trial", (), "the number, or that it is no trial"),
        Item("35", "Numbers included and left out", ("partition", "left_out"), "a flow diagram"),
        Item("36", "Patients by part", ("subgroups",), "age, sex, disease of every part"),
        Item("37", "Performance of the final model", ("performance", "thresholds")),
        Item("38", "Estimates with precision", ("performance", "calibration")),
        Item("39", "Failures", (), "what was missed and why (hilum evaluate report has galleries)"),
        Item("40", "Limitations", ("limits",), "those of the study"),
        Item("41", "What it means for practice", ("use",), "implications, way to the clinic"),
        Item("42", "Full protocol", ("training",), "where the study's protocol lies"),
        Item("43", "Software, model, data: to be had?", ("availability",), "access to the data"),
        Item("44", "Funding", (), "sources, role of the funders"),
    ),
)

TRIPOD_AI = Checklist(
    name="TRIPOD+AI",
    source="Collins et al., BMJ 2024;385:e078378",
    items=(
        Item("1", "Title", ("task",), "the title"),
        Item("2", "Abstract", (), "the abstract, by its own checklist"),
        Item("3a", "Context and reason", (), "the clinical question, models that exist"),
        Item("3b", "For whom, for what, used by whom", ("use",), "population, place in care"),
        Item("3c", "Known inequalities", (), "between groups of people"),
        Item("4", "Objectives", ("task",), "development, evaluation, or both"),
        Item("5a", "Data and why these", ("data_sources",), "why these, how representative"),
        Item("5b", "Dates", (), "from when to when patients were included", PROVIDER),
        Item("6a", "Setting and centres", (), "kind of care, number, places", PROVIDER),
        Item(
            *("6b", "Eligibility", ("selection_of_rows",)),
            add="the criteria by which the sets themselves were collected",
            who=PROVIDER,
        ),
        Item("6c", "Treatments", (), "which, if they matter", PROVIDER),
        Item("7", "Preparation of the data", ("preprocessing",), "quality checks, by group"),
        Item("8a", "Outcome", ("task", "reference_standard"), "how and when assessed", READERS),
        Item("8b", "Who assessed it", (), "qualifications, demographics", READERS),
        Item("8c", "Blinding of the outcome", (), "what readers knew", READERS),
        Item("9a", "Predictors, choice", ("preprocessing",), "that pixels alone are used, and why"),
        Item("9b", "Predictors, defined", ("preprocessing",), "how images were taken", PROVIDER),
        Item("9c", "Who assessed predictors", (), "nobody, where pixels alone are used"),
        Item("10", "Sample size", ("images_tested", "partition"), "why it is enough"),
        Item("11", "Missing data", ("missing_annotations", "left_out")),
        Item("12a", "Use of the data", ("shares_of_patients", "partition", "disjoint")),
        Item("12b", "Handling of predictors", ("preprocessing",)),
        Item("12c", "Model, building, internal validation", ("architecture", "training")),
        Item("12d", "Differences between clusters", ("robustness",), "by hospital or country"),
        Item("12e", "Measures of performance", ("metrics", "intervals")),
        Item("12f", "Updating", ("calibration",), "for groups or settings"),
        Item("12g", "How predictions are computed", ("how_to_predict",)),
        Item("13", "Class imbalance", ("shares_in_a_batch", "calibration")),
        Item("14", "Fairness", (), "what was done, and why"),
        Item("15", "Output and thresholds", ("task", "thresholds", "calibration")),
        Item("16", "Development against evaluation data", ("data_sources",), "what differs"),
        Item("17", "Ethics", (), "committee, consent or waiver"),
        Item("18a", "Funding", (), "sources, role of the funders"),
        Item("18b", "Conflicts of interest", (), "of all authors"),
        Item("18c", "Protocol", (), "where, or that there is none"),
        Item("18d", "Registration", (), "register and number, or none"),
        Item("18e", "Sharing of data", ("data_sources",), "how they are had", PROVIDER),
        Item("18f", "Sharing of code", ("availability",)),
        Item("19", "Patients and public", (), "how involved, or that they were not"),
        Item("20a", "Flow of participants", ("partition", "left_out"), "with and without outcome"),
        Item("20b", "Characteristics", ("subgroups",), "of all sources and parts"),
        Item("20c", "Development against evaluation, compared", (), "the distributions"),
        Item("21", "Participants and outcomes of each analysis", ("partition",), "the outcomes"),
        Item("22", "The full model", ("architecture", "availability")),
        Item("23a", "Performance", ("performance", "subgroups")),
        Item("23b", "Performance by cluster", ("internal_test", "external_test"), "by hospital"),
        Item("24", "The updated model", (), "its numbers, or that nothing was updated"),
        Item("25", "Interpretation", (), "of the results, fairness among them"),
        Item("26", "Limitations", ("limits",), "those of the study"),
        Item("27a", "Poor or missing input", ("poor_input",)),
        Item("27b", "What users do and must know", ("use",), "training of the users"),
        Item("27c", "Next steps", (), "of research"),
    ),
)

CHECKLISTS = (CLAIM, TRIPOD_AI)

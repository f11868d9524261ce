"""CLAIM 2024 and TRIPOD+AI, answered from a run or a bundle as far as these know. Guesses nothing.

evidence.py    what a bundle (manifest, card) and a run's folder say
facts/       one fact each -> words and where they come from, or nothing
items.py       the two checklists: numbers, titles in our words, which facts answer an item
page.py        items and facts -> answers, coverage, Markdown
"""

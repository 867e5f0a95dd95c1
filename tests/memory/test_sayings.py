"""Whether a text says no more than another, and whether a summary strays."""

from __future__ import annotations

import pytest

from llmos.memory.sayings import says_no_more, strays


@pytest.mark.parametrize(
    ("text", "than"),
    [
        ("My sister Ann lives in Rome.", "My sister Ann lives in Rome, near the river."),
        ("I like tea", "I like tea."),
        ("my dog is called Rex", "My old dog is called Rex."),
        ("The train leaves at 17:40.", "The train leaves at 17:40 on Fridays"),
    ],
)
def test_a_text_all_of_whose_words_stand_in_another_says_no_more(text, than):
    assert says_no_more(text, than)


@pytest.mark.parametrize(
    ("text", "than"),
    [
        ("Ann owes Bob 5 euros", "Bob owes Ann 5 euros"),  # the order
        ("My brother likes tea", "My sister likes tea"),  # another word
        ("I like tea", "I do not like tea"),  # a negation
        ("I like tea", "I don't like tea"),
        ("I like tea", "I never like tea in the evening"),
        ("The train leaves at 17:40", "The train leaves at 17:45"),  # a number
        ("My sister Ann lives in Rome, near the river.", "My sister Ann lives in Rome."),
        ("It is.", "It is so."),  # nothing that carries
        ("", "Anything"),
    ],
)
def test_a_text_with_anything_of_its_own_says_more(text, than):
    assert not says_no_more(text, than)


SOURCE = "Person: Book a hall for 40 people, Friday.\nAssistant: Maria has the key; I booked it."


@pytest.mark.parametrize(
    ("summary", "reason"),
    [
        ("The hall was booked for 40 people; Maria has the key.", ""),
        ("Booking a hall for 40 people on Friday.", ""),
        ("The hall was booked for 50 people.", "the number 50"),
        ("The hall was booked with Peter.", "the name Peter"),
        ("A wonderful summer festival brings together musicians.", "words of its own"),
        ("No, no.", "too few words"),
    ],
)
def test_a_summary_keeps_to_the_numbers_names_and_words_of_its_source(summary, reason):
    assert strays(summary, SOURCE) == reason

"""Whether two texts say the same, and whether a summary strays."""

from __future__ import annotations

import pytest

from llmos.memory.sayings import say_the_same, strays


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I like tea", "I like tea."),
        ("my dog is called Rex!", "My dog is called Rex"),
        ("The train leaves at 17:40.", "the train just leaves at 17:40"),
        ("I don’t eat meat.", "I don't eat meat"),
    ],
)
def test_case_marks_and_words_that_change_nothing_make_no_other_saying(one, other):
    assert say_the_same(one, other) and say_the_same(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Ann owes Bob 5 euros", "Bob owes Ann 5 euros"),  # the order
        ("My dog is called Rex", "My brother's dog is called Rex"),
        ("The dentist is on Monday", "The dentist moved from Monday to Friday"),
        ("I have a dog", "I had a dog"),
        ("I like tea", "I do not like tea"),
        ("I like tea", "I don't like tea"),
        ("The train leaves at 17:40", "The train leaves at 17:45"),
        ("It is -5 outside", "It is 5 outside"),
        ("", "the"),
    ],
)
def test_anything_else_does(one, other):
    assert not say_the_same(one, other)


SOURCE = "Person: Book a hall for 40 people, Friday.\nAssistant: Maria has the key; I booked it."


@pytest.mark.parametrize(
    ("summary", "reason"),
    [
        ("The hall was booked for 40 people; Maria has the key.", ""),
        ("Booking a hall for 40 people on Friday.", ""),
        ("The hall was booked for 50 people.", "a number"),
        ("The hall was booked with Peter.", "a name"),
        ("A wonderful summer festival brings together musicians.", "words of its own"),
        ("No, no.", "too few words"),
    ],
)
def test_a_summary_keeps_to_the_numbers_names_and_words_of_its_source(summary, reason):
    assert strays(summary, SOURCE) == reason

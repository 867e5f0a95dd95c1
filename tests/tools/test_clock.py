from __future__ import annotations

import asyncio
import calendar
import tomllib
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmos import paths
from llmos.door.tools import load
from llmos.errors import CallFailed
from llmos.sdk import Context

FOLDER = paths.bundled("tools") / "clock"
CALLS = {call.name.removeprefix("clock."): call for call in load(FOLDER).calls}
NOW = datetime(2026, 11, 22, 5, 5, tzinfo=UTC)  # a Sunday


def context(**options) -> Context:
    settings = {"zone": "Europe/Berlin", "locale": "en_GB", "clock": lambda: NOW}
    return Context(**{**settings, **options})


PERSON = context()


def ask(call: str, *values: str, person: Context = PERSON, **named: str) -> str:
    names = list(CALLS[call].schema["properties"])
    arguments = {**dict(zip(names, values, strict=False)), **named}
    return asyncio.run(CALLS[call].run(arguments, person)).text


def refused(call: str, *values: str, person: Context = PERSON) -> str:
    with pytest.raises(CallFailed) as caught:
        ask(call, *values, person=person)
    assert "internal error" not in str(caught.value), values
    return str(caught.value)


@pytest.mark.parametrize("name", sorted(CALLS))
def test_the_worked_examples_of_the_manifest_are_true(name):
    for worked in CALLS[name].worked:
        result = asyncio.run(CALLS[name].run(worked.arguments, PERSON)).text
        assert result == (worked.result or result)


# --- now --------------------------------------------------------------------------------------


def test_the_time_here_names_the_zone():
    assert ask("now") == "Sunday, 22 November 2026, 06:05 (UTC+1, Europe/Berlin)"
    assert ask("now", person=context(zone="UTC")) == "Sunday, 22 November 2026, 05:05 UTC"


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("Tokyo", "14:05 in Tokyo (UTC+9)"),
        ("tokyo", "14:05 in Tokyo (UTC+9)"),
        ("in Tokyo?", "14:05 in Tokyo (UTC+9)"),
        ("Tokyo time", "14:05 in Tokyo (UTC+9)"),
        ("Japan", "14:05 in Japan (UTC+9)"),
        ("Mumbai", "10:35 in Mumbai (UTC+5:30)"),
        ("Kathmandu", "10:50 in Kathmandu (UTC+5:45)"),
        ("NYC", "00:05 in NYC (UTC-5)"),
        ("new york", "00:05 in New York (UTC-5)"),
        ("California", "21:05 in California (UTC-8)"),
        ("sao paulo", "02:05 in São Paulo (UTC-3)"),
        ("Zürich", "06:05 in Zurich (UTC+1)"),
        ("Lodz", "06:05 in Łódź (UTC+1)"),
        ("St. Louis", "23:05 in St. Louis (UTC-6)"),
        ("the netherlands", "06:05 in Netherlands (UTC+1)"),
        ("Trinidad & Tobago", "01:05 in Trinidad and Tobago (UTC-4)"),
        ("America/Los_Angeles", "21:05 in Los Angeles (UTC-8)"),
        ("america/argentina/buenos aires", "02:05 in Buenos Aires (UTC-3)"),
        ("UTC", "05:05 UTC"),
        ("GMT", "05:05 GMT (UTC)"),
        ("UTC+5:30", "10:35 UTC+5:30"),
        ("gmt-3", "02:05 UTC-3"),
        ("+02:00", "07:05 UTC+2"),
        ("EST", "00:05 EST (UTC-5)"),
        ("eastern time", "00:05 ET (UTC-5)"),
        ("CET", "06:05 CET (UTC+1)"),
        ("Paris, France", "06:05 in Paris, France (UTC+1)"),
        ("Paris, Texas", "23:05 in Paris, Texas (UTC-6)"),
        ("Portland, Maine", "00:05 in Portland, Maine (UTC-5)"),
        ("Springfield, Illinois", "23:05 in Springfield, Illinois (UTC-6)"),
        ("Perth, Australia", "13:05 in Perth, Australia (UTC+8)"),
    ],
)
def test_a_place_is_found_as_people_write_it(place, expected):
    day = "Saturday, 21" if expected.startswith(("21:", "23:")) else "Sunday, 22"
    assert ask("now", place) == f"{day} November 2026, {expected}"


def test_a_country_of_several_zones_answers_with_its_capital_and_says_so():
    assert ask("now", "USA").endswith(
        "in Washington (UTC-5) (The United States has several time zones; this is the time in "
        "Washington)"
    )
    assert "this is the time in Canberra" in ask("now", "Australia")
    assert "several" not in ask("now", "Washington")


def test_an_ambiguous_abbreviation_says_how_it_is_read():
    assert ask("now", "IST").endswith("IST (UTC+5:30) (IST read as India Standard Time)")


def test_summer_time_is_followed():
    july = context(clock=lambda: datetime(2026, 7, 1, 12, tzinfo=UTC))
    assert ask("now", "London", person=july).endswith("13:00 in London (UTC+1)")
    assert ask("now", "ET", person=july).endswith("08:00 ET (UTC-4)")
    assert ask("now", "EST", person=july).endswith("07:00 EST (UTC-5)")


@pytest.mark.parametrize(
    ("place", "sentence"),
    [
        ("Berlim", "The place “Berlim” is not known. Did you mean Berlin"),
        ("qqqqqq", "Name a large city, a country"),
        ("UTC+99", "is no offset in use"),
        ("UTC-12:30", "is no offset in use"),
        ("localtime", "is not known"),
        ("Factory", "is not known"),
        ("../../etc/passwd", "is not known"),
        ("/etc/localtime", "is not known"),
        ("x" * 100_000, "That is no name of a place."),
        ("\0", "is not known"),
    ],
)
def test_an_unknown_place_is_an_error_with_the_nearest_names(place, sentence):
    assert sentence in refused("now", place)


def test_every_zone_of_the_table_exists():
    table = tomllib.loads((FOLDER / "places.toml").read_text("utf-8"))
    zones = {zone for part in ("regions", "capitals", "cities") for zone in table[part]}
    zones |= {zone for zone in table["abbreviations"].values() if "/" in zone}
    assert zones <= available_timezones()


def test_the_table_knows_some_hundreds_of_places_and_each_is_found():
    table = tomllib.loads((FOLDER / "places.toml").read_text("utf-8"))
    names = [
        name
        for part in ("regions", "cities")
        for listed in table[part].values()
        for name in listed.split(", ")
    ]
    names += [name for row in table["capitals"].values() for each in row.values()
              for name in each.split(", ")]  # fmt: skip
    assert len(names) > 300
    assert all(ask("now", name) for name in names)


def test_countries_agree_with_the_zone_database():
    tzdata = pytest.importorskip("tzdata", reason="the tzdata package is not installed")
    from importlib.resources import files

    folder = files(tzdata) / "zoneinfo"

    def rows(name: str) -> list[list[str]]:
        lines = (folder / name).read_text("utf-8").splitlines()
        return [line.split("\t") for line in lines if line and not line.startswith("#")]

    def year(zone: str) -> tuple:
        moments = [datetime(2026, month, 1, tzinfo=ZoneInfo(zone)) for month in range(1, 13)]
        return tuple(moment.utcoffset() for moment in moments)

    zones: dict[str, list[str]] = {}
    for code, _, zone, *_ in rows("zone.tab"):
        zones.setdefault(code, []).append(zone)
    checked = 0
    for code, country in rows("iso3166.tab"):
        kinds = {year(zone) for zone in zones.get(code, [])}
        try:
            found = asyncio.run(CALLS["now"].run({"place": country}, PERSON))
        except CallFailed:
            continue  # islands, and names that only this table spells so
        if found.data["zone"]:
            assert year(found.data["zone"]) in kinds, country
            checked += 1
    assert checked > 170


# --- reading dates ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "written",
    [
        "2025-03-03", "2025/03/03", "2025.3.3", "20250303", "2025-W10-1", "3 March 2025",
        "3rd March 2025", "3rd of March 2025", "the 3rd of March, 2025", "March 3 2025",
        "March 3rd, 2025", "Mar 3, 2025", "3 mar 2025", "3-Mar-2025", "2025 March 3", "3/3/2025",
        "3.3.2025", "03/03/25", "Monday, 3 March 2025", "Mon 3 Mar 2025", "on 3 March 2025",
        "  3   MARCH   2025 ",
    ],
)  # fmt: skip
def test_a_date_is_read_in_the_forms_people_use(written):
    assert ask("weekday", written).startswith("3 March 2025 is a Monday")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("today", "22 November 2026"),
        ("tomorrow", "23 November 2026"),
        ("yesterday", "21 November 2026"),
        ("the day after tomorrow", "24 November 2026"),
        ("the day before yesterday", "20 November 2026"),
        ("Friday", "27 November 2026"),
        ("next Friday", "27 November 2026"),
        ("this Friday", "27 November 2026"),
        ("last Friday", "20 November 2026"),
        ("Sunday", "22 November 2026"),
        ("next Sunday", "29 November 2026"),
        ("last Sunday", "15 November 2026"),
        ("in 3 days", "25 November 2026"),
        ("3 weeks from now", "13 December 2026"),
        ("two weeks ago", "8 November 2026"),
        ("3 days before Christmas", "22 December 2026"),
        ("a week after next Friday", "4 December 2026"),
        ("next week", "29 November 2026"),
        ("last month", "22 October 2026"),
        ("next year", "22 November 2027"),
        ("the end of the month", "30 November 2026"),
        ("end of the year", "31 December 2026"),
        ("3 March", "3 March 2027"),
        ("24 December", "24 December 2026"),
        ("22 November", "22 November 2026"),
        ("29 February", "29 February 2028"),
        ("the 15th", "15 December 2026"),
        ("Christmas", "25 December 2026"),
        ("Christmas 2030", "25 December 2030"),
        ("Christmas this year", "25 December 2026"),
        ("3 March next year", "3 March 2027"),
        ("New Year's Eve", "31 December 2026"),
        ("Halloween", "31 October 2027"),
        ("Easter 2025", "20 April 2025"),
        ("Good Friday 2024", "29 March 2024"),
        ("Thanksgiving", "26 November 2026"),
        ("July 2027", "1 July 2027"),
        ("2028", "1 January 2028"),
    ],
)
def test_words_name_the_date_that_people_mean(written, expected):
    assert ask("weekday", written).startswith(f"{expected} is a ")


@pytest.mark.parametrize(
    ("year", "month", "day"),
    [(1961, 4, 2), (1999, 4, 4), (2000, 4, 23), (2008, 3, 23), (2011, 4, 24), (2038, 4, 25),
     (2049, 4, 18), (2285, 3, 22)],
)  # fmt: skip
def test_easter_is_when_the_church_has_it(year, month, day):
    assert ask("weekday", f"Easter {year}").startswith(f"{day} {calendar.month_name[month]} {year}")


def test_an_ambiguous_date_follows_the_locale_and_says_so():
    american = context(locale="en_US")
    assert ask("weekday", "3/4/2025").startswith("3 April 2025 is a Thursday")
    assert ask("weekday", "3/4/2025").endswith("(3/4/2025 read as 3 April 2025)")
    assert ask("weekday", "3/4/2025", person=american).startswith("4 March 2025 is a Tuesday")
    assert ask("weekday", "3.4.2025", person=american).startswith("3 April 2025 is a Thursday")
    assert "read as" not in ask("weekday", "25/12/2025", person=american)
    assert "read as" not in ask("weekday", "12/25/2025")


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ("30 February 2025", "There is no 30 February 2025: that month has 28 days."),
        ("feb 30", "There is no 30 February: that month has at most 29 days."),
        ("29 February 2025", "There is no 29 February 2025"),
        ("29/2/1900", "There is no 29 February 1900"),
        ("2025-13-01", "There is no month 13."),
        ("31.4.2025", "There is no 31 April 2025"),
        ("0000-01-01", "The year 0 is out of range"),
        ("2025-W54-1", "2025 has no ISO week 54."),
        ("the 32nd", "No month has a day 32."),
        ("hello", "“hello” is no date that can be read."),
        ("12", "is no date that can be read"),
        ("x" * 1000, "That is too long for a date."),
        ("1 day before " * 6 + "today", "is no date that can be read"),
        ("99999999 years ago", "out of range"),
        ("\0", "is no date"),
    ],
)
def test_what_is_no_date_says_so(written, sentence):
    assert sentence in refused("weekday", written)


@settings(max_examples=200, deadline=None)
@given(st.dates(), st.sampled_from(["%Y-%m-%d", "%d %B %Y", "%B %d, %Y", "%d.%m.%Y", "%d %b %Y"]))
def test_every_date_that_is_written_is_read_back(day, form):
    written = form.replace("%Y", f"{day.year:04d}")
    result = asyncio.run(CALLS["weekday"].run({"date": day.strftime(written)}, PERSON))
    assert result.data["iso"] == day.isoformat()
    assert result.data["weekday"] == calendar.day_name[day.weekday()]
    assert result.data["week"] == day.isocalendar().week
    assert result.data["leap"] == calendar.isleap(day.year)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            "1 2 29 31 2025 9999 0001 3rd of the in ago next last this Friday March february week "
            "month year day days hours weeks before after from now today tomorrow Christmas easter "
            "at 3pm 15:00 noon - / . : T , a half past to and years 100000000 end business".split()
        ),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(sorted(CALLS)),
)
def test_any_words_give_a_result_or_a_sentence(words, call):
    text = " ".join(words)
    required = CALLS[call].schema["required"]
    try:
        assert ask(call, **dict.fromkeys(required or ["place"], text))
    except CallFailed as error:
        assert "internal error" not in str(error), text


@settings(max_examples=200, deadline=None)
@given(st.text(min_size=1, max_size=40), st.sampled_from(sorted(CALLS)))
def test_any_text_gives_a_result_or_a_sentence(text, call):
    test_any_words_give_a_result_or_a_sentence.hypothesis.inner_test([text], call)


# --- adding -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("day", "amount", "expected"),
    [
        ("3 March 2025", "3 weeks", "Monday, 24 March 2025"),
        ("today", "90 days", "Saturday, 20 February 2027"),
        ("today", "-90 days", "Monday, 24 August 2026"),
        ("today", "90 days ago", "Monday, 24 August 2026"),
        ("today", "minus two weeks", "Sunday, 8 November 2026"),
        ("today", "twenty-one days", "Sunday, 13 December 2026"),
        ("today", "a couple of days", "Tuesday, 24 November 2026"),
        ("today", "2 years, 3 months and 1 day", "Friday, 23 February 2029"),
        ("today", "a year and a half", "Monday, 22 May 2028"),
        ("today", "1,000 days", "Saturday, 18 August 2029"),
        ("today", "a fortnight", "Sunday, 6 December 2026"),
        ("today", "a decade", "Saturday, 22 November 2036"),
        ("Christmas", "-6 weeks", "Friday, 13 November 2026"),
        ("Friday", "5 business days", "Friday, 4 December 2026"),
        ("Saturday", "1 working day", "Monday, 30 November 2026"),
        ("Sunday", "-1 working day", "Friday, 20 November 2026"),
        ("29 February 2024", "4 years", "Tuesday, 29 February 2028"),
        ("31 January 2025", "1 month", "Friday, 28 February 2025 (February 2025 has 28 days)"),
        ("29 February 2024", "1 year", "Friday, 28 February 2025 (February 2025 has 28 days)"),
        ("today", "5 hours", "Sunday, 22 November 2026, 11:05"),
        ("now", "half an hour", "Sunday, 22 November 2026, 06:35"),
        ("today", "1.5 hours", "Sunday, 22 November 2026, 07:35"),
        ("5 March 2027 at 3pm", "36 hours", "Sunday, 7 March 2027, 03:00"),
        ("1 January 2025", "36 hours", "Thursday, 2 January 2025, 12:00"),
    ],
)
def test_an_amount_is_added_exactly(day, amount, expected):
    assert ask("add", day, amount) == expected


def test_hours_pass_and_days_keep_the_clock_when_summer_time_begins():
    assert ask("add", "2025-03-29 12:00", "24 hours") == "Sunday, 30 March 2025, 13:00"
    assert ask("add", "2025-03-29 12:00", "1 day") == "Sunday, 30 March 2025, 12:00"


@pytest.mark.parametrize(
    ("day", "amount", "sentence"),
    [
        ("9999-12-31", "1 day", "out of range"),
        ("0001-01-01", "-1 day", "out of range"),
        ("0001-01-01", "-1 hour", "out of range"),
        ("today", "100000 years", "out of range"),
        ("today", "999999999 centuries", "out of range"),
        ("today", "soon", "“soon” is no length of time."),
        ("today", "3", "is no length of time"),
        ("today", "1.3 months", "is no whole number of days or months"),
        ("today", "1 day " * 1000, "is no length of time"),
    ],
)
def test_an_amount_that_cannot_be_added_says_why(day, amount, sentence):
    assert sentence in refused("add", day, amount)


@settings(max_examples=200, deadline=None)
@given(st.dates(date(1000, 1, 1), date(9000, 1, 1)), st.integers(-300_000, 300_000))
def test_days_added_agree_with_the_calendar(day, days):
    result = asyncio.run(
        CALLS["add"].run({"date": day.isoformat(), "amount": f"{days} days"}, PERSON)
    )
    assert result.data["iso"] == (day + timedelta(days=days)).isoformat()


@settings(max_examples=200, deadline=None)
@given(st.dates(date(1000, 1, 1), date(9000, 1, 1)), st.integers(1, 2000))
def test_working_days_added_are_the_working_days_counted(day, count):
    later = asyncio.run(
        CALLS["add"].run({"date": day.isoformat(), "amount": f"{count} working days"}, PERSON)
    ).data["iso"]
    start = (day + timedelta(days=1)).isoformat()
    counted = asyncio.run(CALLS["workdays"].run({"start": start, "end": later}, PERSON)).data
    assert counted["workdays"] == count
    assert date.fromisoformat(later).weekday() < 5


# --- between ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("today", "Christmas", "33 days (4 weeks and 5 days, or 1 month and 3 days)"),
        ("1 March 2025", "15 April 2025", "45 days (6 weeks and 3 days, or 1 month and 14 days)"),
        ("14 July 2020", "today", "2322 days (331 weeks and 5 days, or 6 years, 4 months and 8 "
         "days)"),
        ("28 February 2024", "1 March 2024", "2 days"),
        ("28 February 2025", "1 March 2025", "1 day"),
        ("today", "today", "0 days"),
        ("today", "in 3 weeks", "21 days (3 weeks)"),
        ("today", "yesterday", "1 day (the second date is the earlier one)"),
        ("9:00", "17:30", "8 hours and 30 minutes"),
        ("2026-03-28 12:00", "2026-03-29 12:00", "23 hours"),
        ("noon", "midnight tomorrow", "12 hours"),
        (
            "0001-01-01",
            "9999-12-31",
            "3652058 days (521722 weeks and 4 days, or 9998 years, 11 months and 30 days)",
        ),
    ],
)  # fmt: skip
def test_the_days_between_two_dates_are_counted(start, end, expected):
    assert ask("between", start, end) == expected


def test_dates_without_a_year_are_taken_in_the_order_they_are_given():
    assert ask("between", "3 March", "today").startswith("264 days")
    assert ask("between", "today", "3 March").startswith("101 days")
    assert ask("between", "24 December", "3 March").startswith("69 days")
    assert ask("between", "29 February", "today").startswith("997 days")
    assert ask("between", "1 March", "15 April").startswith("45 days")


@settings(max_examples=200, deadline=None)
@given(st.dates(), st.dates())
def test_days_between_agree_with_the_calendar(a, b):
    result = asyncio.run(
        CALLS["between"].run({"start": a.isoformat(), "end": b.isoformat()}, PERSON)
    )
    assert result.data["days"] == (b - a).days


@settings(max_examples=100, deadline=None)
@given(st.dates(date(1, 1, 1), date(9990, 1, 1)), st.integers(0, 400))
def test_working_days_agree_with_a_count_one_by_one(first, length):
    days = [first + timedelta(days=n) for n in range(length + 1)]
    result = asyncio.run(
        CALLS["workdays"].run({"start": days[0].isoformat(), "end": days[-1].isoformat()}, PERSON)
    )
    assert result.data["workdays"] == sum(day.weekday() < 5 for day in days)


# --- converting -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "source", "target", "expected"),
    [
        ("3pm", "London", "Tokyo", "00:00 the next day in Tokyo (UTC+9)"),
        ("15:00", "UTC", "New York", "10:00 in New York (UTC-5)"),
        ("9am", "Berlin", "San Francisco", "00:00 in San Francisco (UTC-8)"),
        ("8 p.m.", "EST", "India", "06:30 the next day in India (UTC+5:30)"),
        ("noon", "Paris", "Sydney", "22:00 in Sydney (UTC+11)"),
        ("midnight", "London", "Tokyo", "09:00 in Tokyo (UTC+9)"),
        ("1am", "Tokyo", "Berlin", "17:00 the day before in Berlin (UTC+1)"),
        ("half past 3", "London", "Tokyo", "12:30 in Tokyo (UTC+9)"),
        ("quarter to four pm", "London", "UTC", "15:45 UTC"),
        ("3 o'clock", "London", "Tokyo", "12:00 in Tokyo (UTC+9)"),
        ("12:30 am", "UTC", "Tokyo", "09:30 in Tokyo (UTC+9)"),
        ("12 pm", "UTC", "Tokyo", "21:00 in Tokyo (UTC+9)"),
        ("9", "London", "Tokyo", "18:00 in Tokyo (UTC+9)"),
        ("3pm", "", "Tokyo", "23:00 in Tokyo (UTC+9)"),
        ("3pm", "Tokyo", "", "07:00 in Berlin (UTC+1)"),
        ("3pm tomorrow", "London", "Tokyo", "00:00 on Tuesday, 24 November 2026 in Tokyo (UTC+9)"),
        ("2025-07-01 14:00", "New York", "UTC", "18:00 on Tuesday, 1 July 2025 UTC"),
        ("2025-07-01T14:00Z", "", "Tokyo", "23:00 on Tuesday, 1 July 2025 in Tokyo (UTC+9)"),
    ],
)
def test_a_time_is_converted_between_places(time, source, target, expected):
    assert ask("convert", time, source, target) == expected


def test_times_that_the_clocks_skip_or_show_twice_are_named():
    assert "does not occur" in ask("convert", "02:30 on 29 March 2026", "Berlin", "UTC")
    assert "occurs twice" in ask("convert", "02:30 on 25 October 2026", "Berlin", "UTC")


@pytest.mark.parametrize(
    ("time", "sentence"),
    [
        ("25:00", "There is no time 25:00."),
        ("13pm", "There is no 13pm."),
        ("10:75", "There is no time 10:75."),
        ("tomorrow", "“tomorrow” is no time of day."),
        ("soon", "is no date that can be read"),
    ],
)
def test_what_is_no_time_says_so(time, sentence):
    assert sentence in refused("convert", time, "London", "Tokyo")


def test_the_edges_of_the_calendar_are_errors_not_crashes():
    assert "out of range" in refused("convert", "0001-01-01 00:00", "Tokyo", "UTC")
    assert "out of range" in refused("convert", "9999-12-31 23:59", "UTC", "Tokyo")
    last = context(clock=lambda: datetime(9999, 12, 31, 12, tzinfo=UTC))
    assert "out of range" in refused("weekday", "tomorrow", person=last)
    assert "out of range" in refused("weekday", "3 March", person=last)


def test_examples_are_questions_of_their_own():
    examples = [example for call in CALLS.values() for example in call.examples]
    assert all(a != b for a, b in pairwise(sorted(examples)))


# --- what is a value in a person's words ------------------------------------------------------


def accepts(call, argument, text):
    return CALLS[call].verbatim[argument].accepts(text)


@pytest.mark.parametrize(
    ("call", "argument", "yes", "no"),
    [
        ("now", "place", ["Oslo", "Paris, Texas", "Sydney, Australia", "UTC+3"],
         ["in Oslo", "Oslo, and then", "- 347", "Christmas", "May", "cheese", ""]),
        ("add", "date", ["10 June 2025", "Christmas", "next Friday", "2024-03-01", "tomorrow"],
         ["on 10 June 2025", "until Christmas", "in 5 hours", "1000", "may", "march",
          "3 weeks after 10 August 2026", "10 days before Christmas"]),
        ("add", "amount", ["3 weeks", "90 days ago", "in 5 hours", "a week from"],
         ["an hour", "a month", "3 pages", "10 June 2025"]),
        ("between", "end", ["until Christmas", "since 4 May 2023", "4 May 2023"],
         ["on 4 May 2023", "until cheese"]),
        ("weekday", "date", ["2028", "31 October 2028", "next Tuesday"],
         ["Saturday", "1000", "until Christmas"]),
        ("convert", "time", ["3pm", "15:00", "noon"], ["now", "in 5 hours", "3"]),
    ],
)  # fmt: skip
def test_values_are_told_from_other_words(call, argument, yes, no):
    assert [text for text in yes if not accepts(call, argument, text)] == []
    assert [text for text in no if accepts(call, argument, text)] == []


@pytest.mark.parametrize(
    ("start", "end"),
    [("today", "until Christmas"), ("until Christmas", "today")],
)
def test_until_makes_a_date_the_end_whichever_comes_first(start, end):
    assert ask("between", start, end) == ask("between", "today", "Christmas")


@pytest.mark.parametrize(("start", "end"), [("since 4 May", "today"), ("today", "since 4 May")])
def test_since_makes_a_date_the_beginning_whichever_comes_first(start, end):
    assert ask("between", start, end) == ask("between", "4 May", "today")


def said(call, **arguments):
    result = asyncio.run(CALLS[call].run(arguments, PERSON))
    return CALLS[call].phrases(arguments, result)


def test_every_way_to_say_a_time_names_its_place():
    assert all("Tokyo" in sentence for sentence in said("now", place="Tokyo"))
    assert said("now", place="Tokyo")
    assert len(said("now")) == 1
    assert all("UTC+3" in sentence for sentence in said("now", place="UTC+3"))


def test_a_weekday_is_said_shortly_and_a_year_only_as_such():
    assert said("weekday", date="20 July 1969")[0] == "20 July 1969 was a Sunday"
    assert said("weekday", date="2028") == ("2028 is a leap year",)


def test_a_span_of_days_is_said_from_the_earlier_day_to_the_later():
    sentences = said("between", start="19 May 2026", end="7 April 2026")
    assert sentences[0].startswith("From 7 April 2026 to 19 May 2026 it is 42 days")
    assert "second date" not in sentences[0]

"""Does a policy file say what its writer means, and is every fault told by its line, with what to write instead?"""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamguard.core.policy import CONSENTS, DIRECTIONS, Policy
from spamguard.core.policy_file import MAX_BYTES, Reading, read_policy
from spamguard.types import Category, Message, Mode, Treatment

WHOLE = """
name = "night"
version = "2026-11-24"
late_after_s = 30
cutoffs = { spam = 0.97 }

[categories]
marketing = "review"

[direction.MO]
mode = "observe"
categories = { marketing = "allow" }

[consent.opt_out]
categories = { marketing = "block" }

[tenant.acme]
mode = "observe"
categories.loan = "allow"

[tenant.acme.direction.MT]
mode = "enforce"
cutoffs = "strict"

[tenant."云杉"]
preset = "fraud-only"
consent.opt_in.categories = { marketing = "review" }
"""


def read(text: str) -> Reading:
    return read_policy(text.encode())


def policy(text: str) -> Policy:
    reading = read(text)
    assert reading.policy is not None, reading.faults
    return reading.policy


def treatment(of: Policy, category: Category, **fields: Any) -> Treatment:
    return of.terms_of(Message(message_id="m", **fields)).treatment(category)


def test_an_empty_file_is_the_standard_policy() -> None:
    found = policy("")
    assert found.name.startswith("policy@") and found.mode is Mode.ENFORCE and not found.own_cutoffs
    assert dict(found.terms) == dict(Policy().terms)


def test_consent_goes_before_direction_direction_before_plain_and_a_tenants_words_before_everybodys() -> None:
    found = policy(WHOLE)
    ad = Category.MARKETING
    assert treatment(found, ad) is Treatment.REVIEW
    assert treatment(found, ad, direction="MO") is Treatment.ALLOW
    assert treatment(found, ad, direction="MO", consent="opt_out") is Treatment.BLOCK
    assert treatment(found, ad, consent="opt_in") is Treatment.ALLOW
    assert treatment(found, Category.LOAN, tenant="acme") is Treatment.ALLOW
    assert treatment(found, ad, tenant="acme", direction="MO") is Treatment.ALLOW


def test_a_tenant_with_a_preset_of_its_own_begins_from_that_alone() -> None:
    found = policy(WHOLE)
    assert treatment(found, Category.MARKETING, tenant="云杉") is Treatment.ALLOW
    assert treatment(found, Category.MARKETING, tenant="云杉", consent="opt_out") is Treatment.ALLOW
    assert treatment(found, Category.MARKETING, tenant="云杉", consent="opt_in") is Treatment.REVIEW
    assert found.terms_of(Message(message_id="m", tenant="云杉")).cutoffs is None


def test_modes_and_cutoffs_follow_tenant_and_direction() -> None:
    found = policy(WHOLE)
    expected: list[tuple[dict[str, Any], Mode, tuple[float, float]]] = [
        ({}, Mode.ENFORCE, (0.3, 0.97)),
        ({"direction": "MO"}, Mode.OBSERVE, (0.3, 0.97)),
        ({"tenant": "acme"}, Mode.ENFORCE, (0.3, 0.5)),
        ({"tenant": "acme", "direction": "AO"}, Mode.OBSERVE, (0.3, 0.97)),
    ]
    for fields, mode, cutoffs in expected:
        message = Message(message_id="m", **fields)
        own = found.terms_of(message).cutoffs
        assert found.mode_of(message) is mode
        assert own is not None and own.over(0.3, 0.7) == cutoffs


def test_the_name_of_a_policy_tells_one_content_from_another() -> None:
    assert policy(WHOLE).name == policy(WHOLE).name != policy(WHOLE + "\n# later").name
    assert policy(WHOLE).name.partition("@")[0] == "night"
    assert read(WHOLE).version == "2026-11-24"


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('preset = "strickt"', 1, "did you mean strict?"),
        ('\nmode = "watch"', 2, "write one of enforce, observe"),
        ('[categories]\nmarketing = "blok"', 2, "did you mean block?"),
        ('[categories]\nfraud = "block"\nmarkting = "block"', 3, "'markting' is no category"),
        ("[direction.MX]", 1, "write one of MO, MT, AO, transit"),
        ('[tenant.acme]\nconsent.opt_inn.categories = { loan = "allow" }', 2, "did you mean opt_in?"),
        ("cutoffs = { ham = 0.9, spam = 0.2 }", 1, "may not lie above"),
        ("cutoffs = { spam = 95 }", 1, "between 0 and 1"),
        ('cutoffs = "low"', 1, '"model", "strict"'),
        ("late_after_s = -1", 1, "above 0"),
        ('name = "two words"', 1, "name must be"),
        ('[tenant."a/b"]', 1, "no slash"),
        ("tenant = 3", 1, "[tenant.acme]"),
        ('[tenant.acme]\n[tenant.acme.direction.MT]\nmod = "observe"', 3, "did you mean mode?"),
        ('name = "a"\nname = "b"', 2, "this is no TOML"),
        ("[categories\n", 1, "this is no TOML"),
    ],
)
def test_a_fault_names_its_line_and_what_to_write_instead(text: str, line: int, said: str) -> None:
    reading = read(text)
    assert reading.policy is None
    assert reading.faults[0].line == line
    assert said in reading.faults[0].sentence


def test_all_faults_are_found_in_one_pass() -> None:
    faults = read('mode = "x"\n[categories]\nfraud = 1\nloan = 2\n[tenant.a]\nfoo = 1').faults
    assert [fault.line for fault in faults] == [1, 3, 4, 6]


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"a" * (MAX_BYTES + 1), b"\x00", b"a=" + b"[" * 10_000, b'"' * 999, b"[a]\n" * 99]
)
def test_hostile_files_are_refused_in_a_short_sentence(content: bytes) -> None:
    reading = read_policy(content)
    assert reading.policy is None
    assert 0 < len(str(reading.faults[0])) < 300


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_content_is_a_policy_or_a_fault_and_never_an_exception(content: bytes) -> None:
    reading = read_policy(content)
    assert (reading.policy is None) == bool(reading.faults)


_SCOPES = st.fixed_dictionaries(
    {}, optional={"marketing": st.sampled_from(Treatment), "loan": st.sampled_from(Treatment)}
)


@given(_SCOPES, _SCOPES, _SCOPES, _SCOPES)
def test_who_says_nothing_gets_what_the_next_wider_place_says(
    plain: dict[str, str], direction: dict[str, str], consent: dict[str, str], own: dict[str, str]
) -> None:
    text = "".join(
        f"[{name}]\n" + "".join(f'{category} = "{said}"\n' for category, said in table.items())
        for name, table in (
            ("categories", plain),
            ("direction.MT.categories", direction),
            ("consent.unknown.categories", consent),
            ("tenant.acme.direction.MT.categories", own),
        )
    )
    tomllib.loads(text)
    found = policy(text)
    for category in (Category.MARKETING, Category.LOAN):
        expected = consent.get(category) or own.get(category) or direction.get(category) or plain.get(category, "block")
        assert treatment(found, category, tenant="acme") == expected
    assert len(found.terms) == 2 * len(DIRECTIONS) * len(CONSENTS)

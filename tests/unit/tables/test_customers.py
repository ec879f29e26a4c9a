"""Customers: credit decides what goes on, the CRM's facts are kept or contradicted, those alike are told."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from schemas.customers import CustomerLikeness, ReviewCredit
from schemas.topics import CUSTOMER_INBOX
from streams.flows.customers import customers
from tables.customers.credit import STEP
from tables.customers.crm_facts import MOST_FIELDS
from tables.customers.duplicates import NAMED
from tables.customers.matching import address_key, name_likeness, tax_likeness
from tests.support.customers import Desk


def test_the_fold_has_a_rule_for_everything_on_its_inbox() -> None:
    assert customers.unhandled() == []
    assert set(customers.rules) == {carried.type for carried in CUSTOMER_INBOX.carries}


# --- credit ---------------------------------------------------------------------------------------------------------------


def test_orders_within_the_limit_go_on_and_the_one_above_it_is_held() -> None:
    desk = Desk()
    desk.erp(credit_limit=Decimal("100.00"))
    for order, amount in (("a", "60"), ("b", "50"), ("c", "40")):
        desk.ask(order, amount)
    assert desk.verdicts("a", "b", "c") == ["granted", "credit_limit", "granted"]
    account, funds = desk.t.accounts[("C1",)], desk.t.funds["C1", ""]
    assert (funds.open_amount, funds.granted_amount, account.held) == (Decimal(150), Decimal(100), 1)
    (told,) = desk.answers("b")
    assert told.sentence == (
        "Customer C1 (Acme) has a credit limit of 100; its orders that go on take 60 of it, and this one is 50."
    )
    assert (told.terms, told.price_list, told.revision) == ("NET30", "STD", 1)


def test_amounts_of_another_currency_are_held_and_do_not_add_up() -> None:
    desk = Desk()
    desk.erp(credit_limit=Decimal(100))
    desk.ask("a", "60", currency="USD")
    desk.ask("b", "30", currency="JPY")
    desk.ask("c", "30", currency="JPY+USD")
    desk.ask("d", "40", currency="USD")
    assert desk.verdicts("a", "b", "c", "d") == ["granted", "credit_currency", "credit_currency", "granted"]
    (foreign,), (mixed,) = desk.answers("b"), desk.answers("c")
    limit = "Customer C1 (Acme) has a credit limit of 100"
    assert foreign.sentence == f"{limit}; its orders that go on are in USD and this one is in JPY: they do not add up."
    assert mixed.sentence == f"{limit}; the prices of this order are in JPY and USD, which do not add up."
    desk.ask("b", "30", currency="JPY", is_released=True)
    desk.ask("d", "39", currency="USD")
    assert desk.verdicts("b", "d") == ["granted", "granted"], "what a person released stands in nobody's way"
    assert {key[1]: row.granted_amount for key, row in desk.t.funds.under("C1")} == {"JPY": 30, "JPY+USD": 0, "USD": 99}


def test_a_limit_in_another_currency_than_the_orders_is_not_compared_with_it() -> None:
    """Not even with the first order: 90,000 JPY are within 100,000 of them, and far above as many USD, or the other way round."""
    desk = Desk()
    desk.erp(credit_limit=Decimal(100_000), credit_currency="JPY")
    desk.ask("a", "90000", currency="USD")
    desk.ask("b", "90000", currency="JPY")
    desk.ask("c", "5")
    assert desk.verdicts("a", "b", "c") == ["credit_currency", "granted", "credit_currency"]
    (foreign,), (unsaid,) = desk.answers("a"), desk.answers("c")
    limit = "Customer C1 (Acme) has a credit limit of 100000 JPY"
    assert foreign.sentence == f"{limit}; this order is in USD: they cannot be compared."
    assert unsaid.sentence == f"{limit}; this order is in a currency nobody says: they cannot be compared."
    desk.ask("b", "0", currency="JPY", is_closed=True)
    assert desk.verdict("a") == "credit_currency", "there is room, in another currency"
    desk.erp(credit_limit=Decimal(100_000), credit_currency="USD")
    assert desk.verdict("a") == "granted", "the ERP has corrected it"


def test_the_distributors_own_currency_is_that_of_limits_that_do_not_say_theirs() -> None:
    desk = Desk("USD")
    desk.erp(credit_limit=Decimal(100))
    desk.ask("a", "60", currency="EUR")
    desk.ask("b", "60", currency="USD")
    assert desk.verdicts("a", "b") == ["credit_currency", "granted"]
    desk.erp(credit_limit=Decimal(100), credit_currency="EUR")
    desk.ask("b", "0", currency="USD", is_closed=True)
    assert desk.verdict("a") == "granted", "the ERP's word goes before"
    desk.erp(credit_limit=None, credit_currency="EUR")
    desk.ask("d", "1000", currency="USD")
    assert desk.verdict("d") == "granted", "nothing is limited"


def test_an_order_in_another_currency_goes_on_once_those_before_it_are_closed() -> None:
    desk = Desk()
    desk.erp(credit_limit=Decimal(100))
    desk.ask("a", "60", currency="USD")
    desk.ask("b", "90", currency="EUR")
    assert desk.verdict("b") == "credit_currency"
    desk.ask("a", "0", currency="USD", is_closed=True)
    assert desk.verdict("b") == "granted"
    desk.ask("b", "90", currency="USD")
    assert desk.verdict("b") == "granted"
    desk.erp(credit_limit=None)
    desk.ask("c", "1000", currency="JPY")
    assert desk.verdict("c") == "granted", "nothing is limited"
    for order in ("b", "c"):
        desk.ask(order, "0", is_closed=True)
    assert not list(desk.t.funds.under("C1"))


def test_a_closed_order_lets_the_oldest_held_one_that_fits_go_on() -> None:
    desk = Desk()
    desk.erp(credit_limit=Decimal(100))
    for order, amount in (("a", "90"), ("b", "95"), ("c", "20"), ("d", "30")):
        desk.ask(order, amount)
    desk.ask("a", "70")
    assert desk.verdicts("b", "c", "d") == ["credit_limit", "granted", "credit_limit"]
    desk.ask("a", "0")
    assert desk.verdicts("b", "c", "d") == ["credit_limit", "granted", "granted"]
    desk.ask("c", "0")
    desk.ask("d", "0")
    assert desk.verdict("b") == "granted"
    assert [a.verdict for a in desk.answers("b")] == ["held", "granted"]


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ({"credit_hold": True}, "credit_hold"),
        ({"status": "B"}, "customer_inactive"),
        ({"credit_limit": Decimal(5)}, "credit_limit"),
    ],
)
def test_a_customer_that_is_held_and_released(held: dict[str, Any], reason: str) -> None:
    desk = Desk()
    desk.erp()
    desk.ask("before", "10")
    desk.erp(**held)
    desk.ask("after", "10")
    assert desk.verdicts("before", "after") == ["granted", reason]
    desk.ask("before", "9")
    assert desk.verdict("before") == "granted"
    desk.ask("before", "11")
    assert desk.verdict("before") == reason
    desk.erp()
    assert desk.verdicts("before", "after") == ["granted", "granted"]


def test_a_deleted_customer_is_inactive() -> None:
    desk = Desk()
    desk.erp()
    desk.erp(op="d")
    desk.ask("a", "1")
    assert desk.verdict("a") == "customer_inactive"
    assert "deleted" in desk.answers("a")[-1].sentence


def test_an_unknown_customer_waits_for_the_erp_even_with_nothing_to_pay() -> None:
    desk = Desk()
    desk.ask("a", "0")
    desk.ask("b", "5")
    assert desk.verdicts("a", "b") == ["unknown_customer", "unknown_customer"]
    assert desk.answers("a")[0].price_list == ""
    desk.erp(credit_hold=True)
    assert desk.verdicts("a", "b") == ["credit_hold", "credit_hold"]
    assert desk.answers("a")[1].price_list == "STD"
    desk.erp(credit_limit=Decimal(0))
    assert desk.verdicts("a", "b") == ["granted", "credit_limit"]


def test_an_order_without_prices_is_held_like_any_other() -> None:
    """Amount 0 is no way around a hold: only a closed order asks for nothing, and one opened again is judged anew."""
    desk = Desk()
    desk.erp(credit_hold=True)
    desk.ask("a", "5")
    desk.ask("a", "0")
    assert desk.verdict("a") == "credit_hold"
    desk.ask("a", "0", is_closed=True)
    assert desk.verdict("a") == "granted"
    desk.ask("a", "0")
    assert desk.verdict("a") == "credit_hold"


def test_an_order_that_ended_is_held_no_longer() -> None:
    desk = Desk()
    desk.ask("a", "5")
    desk.ask("a", "0", is_closed=True)
    assert desk.verdict("a") == "granted"
    assert desk.t.accounts[("C1",)].held == 0


def test_a_held_order_that_shrinks_goes_on() -> None:
    desk = Desk()
    desk.erp(credit_limit=Decimal(10))
    desk.ask("a", "11")
    desk.ask("a", "10")
    assert [(a.revision, a.verdict) for a in desk.answers("a")] == [(1, "held"), (2, "granted")]


def test_a_granted_order_that_asks_again_is_judged_once_and_without_itself() -> None:
    desk = Desk()
    desk.erp(credit_limit=Decimal(100))
    desk.ask("a", "60")
    desk.ask("a", "100")
    assert [a.verdict for a in desk.answers("a")] == ["granted", "granted"]
    desk.erp(credit_hold=True)
    desk.ask("a", "100")
    assert [a.verdict for a in desk.answers("a")] == ["granted"] * 3


def test_what_fits_exactly_goes_on_and_what_costs_nothing_always_fits() -> None:
    desk = Desk()
    desk.erp(credit_limit=Decimal(60))
    for order, amount in (("a", "40"), ("b", "20"), ("c", "40")):
        desk.ask(order, amount)
    desk.ask("a", "0")
    assert desk.verdict("c") == "granted"
    desk.erp(credit_limit=Decimal(10))
    desk.ask("free", "0")
    assert desk.verdict("free") == "granted"


def test_a_person_may_release_an_order_and_it_counts() -> None:
    desk = Desk()
    desk.erp(credit_limit=Decimal(10))
    desk.ask("a", "50")
    desk.ask("a", "50", is_released=True)
    desk.ask("b", "1")
    assert desk.verdicts("a", "b") == ["granted", "credit_limit"]
    assert desk.t.funds["C1", ""].granted_amount == 50


def test_a_request_that_is_repeated_or_old_changes_nothing() -> None:
    desk = Desk()
    desk.erp()
    desk.ask("a", "5", revision=2)
    assert desk.ask("a", "7", revision=2) == "AlreadyApplied"
    assert desk.ask("a", "7", revision=1) == "AlreadyApplied"
    assert desk.t.funds["C1", ""].open_amount == 5


def test_facts_that_do_not_concern_credit_answer_nothing_anew() -> None:
    desk = Desk()
    desk.erp(credit_hold=True)
    desk.ask("a", "5")
    desk.erp(credit_hold=True, email="x@y")
    desk.erp(credit_hold=True, name="Acme 2")
    assert len(desk.answers("a")) == 1
    desk.erp(credit_hold=True, price_list="KEY")
    assert desk.answers("a")[-1].price_list == "KEY"


def test_many_held_orders_are_reviewed_in_steps() -> None:
    desk = Desk()
    orders = [f"o{n}" for n in range(2 * STEP + 1)]
    for order in orders:
        desk.ask(order, "1")
    desk.erp(credit_limit=Decimal(STEP + 50))
    assert desk.verdicts(*orders) == ["granted"] * (STEP + 50) + ["credit_limit"] * (STEP - 49)
    assert [e.after for e in desk.said if isinstance(e, ReviewCredit)] == [STEP, 2 * STEP]


# --- the CRM ---------------------------------------------------------------------------------------------------------------


def test_contact_facts_are_kept_the_newest_of_each_field() -> None:
    desk = Desk()
    assert desk.crm(sequence=5, email="new@x", phone="1") == "applied"
    assert desk.crm(sequence=4, email="old@x", city="Kyiv") == "applied"
    assert desk.crm(sequence=5, email="new@x", phone="1") == "AlreadyApplied"
    assert desk.crm(sequence=6, phone="") == "applied"
    shown = {key[1]: fact.value for key, fact in desk.t.contacts.under("C1")}
    assert shown == {"email": "new@x", "phone": "", "city": "Kyiv"}
    assert desk.open == {}


def test_what_the_erp_owns_is_refused_until_both_agree() -> None:
    desk = Desk()
    desk.crm(terms="NET60", credit_limit="500", name="ACME", nickname="ac")
    assert desk.open == {}
    desk.erp(credit_limit=Decimal("500.00"))
    prefix = "authority_conflict:customer:C1"
    assert set(desk.open) == {f"{prefix}:terms", f"{prefix}:name"}
    assert "'NET60'; the ERP, which owns it, says 'NET30'" in desk.open[f"{prefix}:terms"]
    desk.crm(terms="NET30", credit_hold="true")
    assert set(desk.open) == {f"{prefix}:name", f"{prefix}:credit_hold"}
    desk.erp(name="ACME", credit_hold=True, credit_limit=None)
    assert set(desk.open) == {f"{prefix}:credit_limit"}
    desk.crm(credit_limit="")
    assert desk.open == {}
    assert desk.t.customers[("C1",)].terms == "NET30 "
    assert desk.t.contacts[("C1", "nickname")].value == "ac"


@pytest.mark.parametrize("said", ["lots", "NaN", "1e3x", "-"])
def test_a_limit_that_is_no_number_is_a_conflict(said: str) -> None:
    desk = Desk()
    desk.erp()
    desk.crm(credit_limit=said)
    assert set(desk.open) == {"authority_conflict:customer:C1:credit_limit"}


def test_a_deleted_customer_is_in_conflict_with_nobody() -> None:
    desk = Desk()
    desk.erp()
    desk.crm(terms="COD")
    assert desk.open
    desk.erp(op="d")
    assert desk.open == {}


def test_contact_facts_are_bounded() -> None:
    desk = Desk()
    for n in range(MOST_FIELDS):
        assert desk.crm(sequence=None, **{f"f{n}": "x"}) == "applied"
    assert desk.crm(one_more="x") == "Refused"
    assert desk.crm(f1="y") == "applied"
    assert ("C1", "one_more") not in desk.t.contacts


# --- who is alike ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Müller Handels GmbH", "MULLER  HANDELS"),
        ("O'Brien Supply, Inc.", "O\u2019Brien Supply"),
        ("Café Noir S.A.R.L.", "cafe noir"),
        ("Łódź Narzędzia Sp. z o.o.", "Lodz Narzedzia"),
        ("Smith & Sons Ltd", "Smith and Sons"),
        ("Meyer GmbH & Co. KG", "Meyer"),
        ("Große Straße AG", "GROSSE STRASSE"),
    ],
)
def test_names_that_are_the_same_as_people_write_them(one: str, other: str) -> None:
    assert name_likeness(one) == name_likeness(other) is not None


def test_names_and_tax_ids_that_say_nothing_are_like_nothing() -> None:
    assert name_likeness(" -!. ") is None
    assert name_likeness("Store 45") != name_likeness("Store 46")
    assert name_likeness("AG") == "name:ag"
    assert tax_likeness("DE 123.456-78") == tax_likeness("de12345678") == "tax:DE12345678"
    assert [tax_likeness(text) for text in (None, "", "n/a", "000000000")] == [None] * 4


def test_addresses() -> None:
    assert address_key({"street": "Main Street 1", "postal_code": "60 601"}) == address_key(
        {"street": "main st. 1", "postal_code": "60 601"}
    )
    assert address_key({"street": "Main Street 1"}) == address_key({"city": "Rome"}) == ""
    assert address_key({"street": "Via 1", "city": "Rome"}) == "via-1,rome"


def test_two_of_one_tax_id_are_told_with_a_proposal_until_one_is_gone() -> None:
    desk = Desk()
    desk.erp("C1", name="Acme Inc", tax_id="DE-123456")
    desk.erp("C2", name="Acme East", tax_id="de 123456")
    assert desk.open == {
        "duplicate_customer:tax:DE123456": "Customers C1 (Acme Inc), C2 (Acme East) have the same tax id DE123456. "
        "If they are one, merge the other into C1 in the ERP."
    }
    desk.erp("C2", name="Acme East", tax_id="de 123456", status="I")
    assert desk.open == {}
    assert desk.t.customers[("C1",)].name == "Acme Inc"


def test_one_name_at_two_addresses_is_two_customers() -> None:
    desk = Desk()
    for customer in ("C1", "C2"):
        desk.erp(customer, name="Quick Mart")
    assert set(desk.open) == {"duplicate_customer:name:quick-mart"}
    desk.crm("C1", street="Main St 1", city="Rome")
    assert desk.open
    desk.crm("C2", street="High St 9", city="Rome")
    assert desk.open == {}
    desk.crm("C2", street="Main Street 1")
    assert desk.open


def test_a_likeness_of_many_names_a_few_and_counts_the_rest() -> None:
    desk = Desk()
    for n in range(200):
        desk.erp(f"C{n:03}", name=f"Shop {n}", tax_id="US100200300")
    sentence = desk.open["duplicate_customer:tax:US100200300"]
    assert sentence.count("Shop") == NAMED
    assert f"and {200 - NAMED} more have" in sentence
    assert len(sentence) < 400


def test_a_note_of_a_likeness_that_is_repeated_or_old_changes_nothing() -> None:
    desk = Desk()
    desk.erp("C1", name="Acme")
    desk.erp("C1", name="Other")
    desk.erp("C2", name="Acme")
    assert desk.open == {}
    notes = [e for e in desk.said if isinstance(e, CustomerLikeness) and e.customer == "C1"]
    assert [(e.likeness, e.is_gone) for e in notes] == [("name:acme", False), ("name:acme", True), ("name:other", False)]
    assert [desk.apply(note) for note in notes] == ["AlreadyApplied"] * 3
    assert desk.open == {}

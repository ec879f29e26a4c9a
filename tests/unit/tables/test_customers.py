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
from tests.support.customers import CustomersFold


def test_the_fold_has_a_rule_for_everything_on_its_inbox() -> None:
    assert customers.unhandled() == []
    assert set(customers.rules) == {carried.type for carried in CUSTOMER_INBOX.carries}


# --- credit ---------------------------------------------------------------------------------------------------------------


def test_orders_within_the_limit_go_on_and_the_one_above_it_is_held() -> None:
    fold = CustomersFold()
    fold.erp(credit_limit=Decimal("100.00"))
    for order, amount in (("a", "60"), ("b", "50"), ("c", "40")):
        fold.ask(order, amount)
    assert fold.verdicts("a", "b", "c") == ["granted", "credit_limit", "granted"]
    account, funds = fold.t.accounts[("C1",)], fold.t.funds["C1", ""]
    assert (funds.open_amount, funds.granted_amount, account.held) == (Decimal(150), Decimal(100), 1)
    (told,) = fold.answers("b")
    assert told.sentence == (
        "Customer C1 (Acme) has a credit limit of 100; its orders that go on take 60 of it, and this one is 50."
    )
    assert (told.terms, told.price_list, told.revision) == ("NET30", "STD", 1)


def test_amounts_of_another_currency_are_held_and_do_not_add_up() -> None:
    fold = CustomersFold()
    fold.erp(credit_limit=Decimal(100))
    fold.ask("a", "60", currency="USD")
    fold.ask("b", "30", currency="JPY")
    fold.ask("c", "30", currency="JPY+USD")
    fold.ask("d", "40", currency="USD")
    assert fold.verdicts("a", "b", "c", "d") == ["granted", "credit_currency", "credit_currency", "granted"]
    (foreign,), (mixed,) = fold.answers("b"), fold.answers("c")
    limit = "Customer C1 (Acme) has a credit limit of 100"
    assert foreign.sentence == f"{limit}; its orders that go on are in USD and this one is in JPY: they do not add up."
    assert mixed.sentence == f"{limit}; the prices of this order are in JPY and USD, which do not add up."
    fold.ask("b", "30", currency="JPY", is_released=True)
    fold.ask("d", "39", currency="USD")
    assert fold.verdicts("b", "d") == ["granted", "granted"], "what a person released stands in nobody's way"
    assert {key[1]: row.granted_amount for key, row in fold.t.funds.under("C1")} == {"JPY": 30, "JPY+USD": 0, "USD": 99}


def test_a_limit_in_another_currency_than_the_orders_is_not_compared_with_it() -> None:
    """Not even with the first order: 90,000 JPY are within 100,000 of them, and far above as many USD, or the other way round."""
    fold = CustomersFold()
    fold.erp(credit_limit=Decimal(100_000), credit_currency="JPY")
    fold.ask("a", "90000", currency="USD")
    fold.ask("b", "90000", currency="JPY")
    fold.ask("c", "5")
    assert fold.verdicts("a", "b", "c") == ["credit_currency", "granted", "credit_currency"]
    (foreign,), (unsaid,) = fold.answers("a"), fold.answers("c")
    limit = "Customer C1 (Acme) has a credit limit of 100000 JPY"
    assert foreign.sentence == f"{limit}; this order is in USD: they cannot be compared."
    assert unsaid.sentence == f"{limit}; this order is in a currency nobody says: they cannot be compared."
    fold.ask("b", "0", currency="JPY", is_closed=True)
    assert fold.verdict("a") == "credit_currency", "there is room, in another currency"
    fold.erp(credit_limit=Decimal(100_000), credit_currency="USD")
    assert fold.verdict("a") == "granted", "the ERP has corrected it"


def test_the_distributors_own_currency_is_that_of_limits_that_do_not_say_theirs() -> None:
    fold = CustomersFold("USD")
    fold.erp(credit_limit=Decimal(100))
    fold.ask("a", "60", currency="EUR")
    fold.ask("b", "60", currency="USD")
    assert fold.verdicts("a", "b") == ["credit_currency", "granted"]
    fold.erp(credit_limit=Decimal(100), credit_currency="EUR")
    fold.ask("b", "0", currency="USD", is_closed=True)
    assert fold.verdict("a") == "granted", "the ERP's word goes before"
    fold.erp(credit_limit=None, credit_currency="EUR")
    fold.ask("d", "1000", currency="USD")
    assert fold.verdict("d") == "granted", "nothing is limited"


def test_an_order_in_another_currency_goes_on_once_those_before_it_are_closed() -> None:
    fold = CustomersFold()
    fold.erp(credit_limit=Decimal(100))
    fold.ask("a", "60", currency="USD")
    fold.ask("b", "90", currency="EUR")
    assert fold.verdict("b") == "credit_currency"
    fold.ask("a", "0", currency="USD", is_closed=True)
    assert fold.verdict("b") == "granted"
    fold.ask("b", "90", currency="USD")
    assert fold.verdict("b") == "granted"
    fold.erp(credit_limit=None)
    fold.ask("c", "1000", currency="JPY")
    assert fold.verdict("c") == "granted", "nothing is limited"
    for order in ("b", "c"):
        fold.ask(order, "0", is_closed=True)
    assert not list(fold.t.funds.under("C1"))


def test_a_closed_order_lets_the_oldest_held_one_that_fits_go_on() -> None:
    fold = CustomersFold()
    fold.erp(credit_limit=Decimal(100))
    for order, amount in (("a", "90"), ("b", "95"), ("c", "20"), ("d", "30")):
        fold.ask(order, amount)
    fold.ask("a", "70")
    assert fold.verdicts("b", "c", "d") == ["credit_limit", "granted", "credit_limit"]
    fold.ask("a", "0")
    assert fold.verdicts("b", "c", "d") == ["credit_limit", "granted", "granted"]
    fold.ask("c", "0")
    fold.ask("d", "0")
    assert fold.verdict("b") == "granted"
    assert [a.verdict for a in fold.answers("b")] == ["held", "granted"]


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ({"credit_hold": True}, "credit_hold"),
        ({"status": "B"}, "customer_inactive"),
        ({"credit_limit": Decimal(5)}, "credit_limit"),
    ],
)
def test_a_customer_that_is_held_and_released(held: dict[str, Any], reason: str) -> None:
    fold = CustomersFold()
    fold.erp()
    fold.ask("before", "10")
    fold.erp(**held)
    fold.ask("after", "10")
    assert fold.verdicts("before", "after") == ["granted", reason]
    fold.ask("before", "9")
    assert fold.verdict("before") == "granted"
    fold.ask("before", "11")
    assert fold.verdict("before") == reason
    fold.erp()
    assert fold.verdicts("before", "after") == ["granted", "granted"]


def test_a_deleted_customer_is_inactive() -> None:
    fold = CustomersFold()
    fold.erp()
    fold.erp(op="d")
    fold.ask("a", "1")
    assert fold.verdict("a") == "customer_inactive"
    assert "deleted" in fold.answers("a")[-1].sentence


def test_an_unknown_customer_waits_for_the_erp_even_with_nothing_to_pay() -> None:
    fold = CustomersFold()
    fold.ask("a", "0")
    fold.ask("b", "5")
    assert fold.verdicts("a", "b") == ["unknown_customer", "unknown_customer"]
    assert fold.answers("a")[0].price_list == ""
    fold.erp(credit_hold=True)
    assert fold.verdicts("a", "b") == ["credit_hold", "credit_hold"]
    assert fold.answers("a")[1].price_list == "STD"
    fold.erp(credit_limit=Decimal(0))
    assert fold.verdicts("a", "b") == ["granted", "credit_limit"]


def test_an_order_without_prices_is_held_like_any_other() -> None:
    """Amount 0 is no way around a hold: only a closed order asks for nothing, and one opened again is judged anew."""
    fold = CustomersFold()
    fold.erp(credit_hold=True)
    fold.ask("a", "5")
    fold.ask("a", "0")
    assert fold.verdict("a") == "credit_hold"
    fold.ask("a", "0", is_closed=True)
    assert fold.verdict("a") == "granted"
    fold.ask("a", "0")
    assert fold.verdict("a") == "credit_hold"


def test_an_order_that_ended_is_held_no_longer() -> None:
    fold = CustomersFold()
    fold.ask("a", "5")
    fold.ask("a", "0", is_closed=True)
    assert fold.verdict("a") == "granted"
    assert fold.t.accounts[("C1",)].held == 0


def test_a_held_order_that_shrinks_goes_on() -> None:
    fold = CustomersFold()
    fold.erp(credit_limit=Decimal(10))
    fold.ask("a", "11")
    fold.ask("a", "10")
    assert [(a.revision, a.verdict) for a in fold.answers("a")] == [(1, "held"), (2, "granted")]


def test_a_granted_order_that_asks_again_is_judged_once_and_without_itself() -> None:
    fold = CustomersFold()
    fold.erp(credit_limit=Decimal(100))
    fold.ask("a", "60")
    fold.ask("a", "100")
    assert [a.verdict for a in fold.answers("a")] == ["granted", "granted"]
    fold.erp(credit_hold=True)
    fold.ask("a", "100")
    assert [a.verdict for a in fold.answers("a")] == ["granted"] * 3


def test_what_fits_exactly_goes_on_and_what_costs_nothing_always_fits() -> None:
    fold = CustomersFold()
    fold.erp(credit_limit=Decimal(60))
    for order, amount in (("a", "40"), ("b", "20"), ("c", "40")):
        fold.ask(order, amount)
    fold.ask("a", "0")
    assert fold.verdict("c") == "granted"
    fold.erp(credit_limit=Decimal(10))
    fold.ask("free", "0")
    assert fold.verdict("free") == "granted"


def test_a_person_may_release_an_order_and_it_counts() -> None:
    fold = CustomersFold()
    fold.erp(credit_limit=Decimal(10))
    fold.ask("a", "50")
    fold.ask("a", "50", is_released=True)
    fold.ask("b", "1")
    assert fold.verdicts("a", "b") == ["granted", "credit_limit"]
    assert fold.t.funds["C1", ""].granted_amount == 50


def test_a_request_that_is_repeated_or_old_changes_nothing() -> None:
    fold = CustomersFold()
    fold.erp()
    fold.ask("a", "5", revision=2)
    assert fold.ask("a", "7", revision=2) == "AlreadyApplied"
    assert fold.ask("a", "7", revision=1) == "AlreadyApplied"
    assert fold.t.funds["C1", ""].open_amount == 5


def test_facts_that_do_not_concern_credit_answer_nothing_anew() -> None:
    fold = CustomersFold()
    fold.erp(credit_hold=True)
    fold.ask("a", "5")
    fold.erp(credit_hold=True, email="x@y")
    fold.erp(credit_hold=True, name="Acme 2")
    assert len(fold.answers("a")) == 1
    fold.erp(credit_hold=True, price_list="KEY")
    assert fold.answers("a")[-1].price_list == "KEY"


def test_many_held_orders_are_reviewed_in_steps() -> None:
    fold = CustomersFold()
    orders = [f"o{n}" for n in range(2 * STEP + 1)]
    for order in orders:
        fold.ask(order, "1")
    fold.erp(credit_limit=Decimal(STEP + 50))
    assert fold.verdicts(*orders) == ["granted"] * (STEP + 50) + ["credit_limit"] * (STEP - 49)
    assert [e.after for e in fold.said if isinstance(e, ReviewCredit)] == [STEP, 2 * STEP]


# --- the CRM ---------------------------------------------------------------------------------------------------------------


def test_contact_facts_are_kept_the_newest_of_each_field() -> None:
    fold = CustomersFold()
    assert fold.crm(sequence=5, email="new@x", phone="1") == "applied"
    assert fold.crm(sequence=4, email="old@x", city="Kyiv") == "applied"
    assert fold.crm(sequence=5, email="new@x", phone="1") == "AlreadyApplied"
    assert fold.crm(sequence=6, phone="") == "applied"
    shown = {key[1]: fact.value for key, fact in fold.t.contacts.under("C1")}
    assert shown == {"email": "new@x", "phone": "", "city": "Kyiv"}
    assert fold.open == {}


def test_what_the_erp_owns_is_refused_until_both_agree() -> None:
    fold = CustomersFold()
    fold.crm(terms="NET60", credit_limit="500", name="ACME", nickname="ac")
    assert fold.open == {}
    fold.erp(credit_limit=Decimal("500.00"))
    prefix = "authority_conflict:customer:C1"
    assert set(fold.open) == {f"{prefix}:terms", f"{prefix}:name"}
    assert "'NET60'; the ERP, which owns it, says 'NET30'" in fold.open[f"{prefix}:terms"]
    fold.crm(terms="NET30", credit_hold="true")
    assert set(fold.open) == {f"{prefix}:name", f"{prefix}:credit_hold"}
    fold.erp(name="ACME", credit_hold=True, credit_limit=None)
    assert set(fold.open) == {f"{prefix}:credit_limit"}
    fold.crm(credit_limit="")
    assert fold.open == {}
    assert fold.t.customers[("C1",)].terms == "NET30 "
    assert fold.t.contacts[("C1", "nickname")].value == "ac"


@pytest.mark.parametrize("said", ["lots", "NaN", "1e3x", "-"])
def test_a_limit_that_is_no_number_is_a_conflict(said: str) -> None:
    fold = CustomersFold()
    fold.erp()
    fold.crm(credit_limit=said)
    assert set(fold.open) == {"authority_conflict:customer:C1:credit_limit"}


def test_a_deleted_customer_is_in_conflict_with_nobody() -> None:
    fold = CustomersFold()
    fold.erp()
    fold.crm(terms="COD")
    assert fold.open
    fold.erp(op="d")
    assert fold.open == {}


def test_contact_facts_are_bounded() -> None:
    fold = CustomersFold()
    for n in range(MOST_FIELDS):
        assert fold.crm(sequence=None, **{f"f{n}": "x"}) == "applied"
    assert fold.crm(one_more="x") == "Refused"
    assert fold.crm(f1="y") == "applied"
    assert ("C1", "one_more") not in fold.t.contacts


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
    fold = CustomersFold()
    fold.erp("C1", name="Acme Inc", tax_id="DE-123456")
    fold.erp("C2", name="Acme East", tax_id="de 123456")
    assert fold.open == {
        "duplicate_customer:tax:DE123456": "Customers C1 (Acme Inc), C2 (Acme East) have the same tax id DE123456. "
        "If they are one, merge the other into C1 in the ERP."
    }
    fold.erp("C2", name="Acme East", tax_id="de 123456", status="I")
    assert fold.open == {}
    assert fold.t.customers[("C1",)].name == "Acme Inc"


def test_one_name_at_two_addresses_is_two_customers() -> None:
    fold = CustomersFold()
    for customer in ("C1", "C2"):
        fold.erp(customer, name="Quick Mart")
    assert set(fold.open) == {"duplicate_customer:name:quick-mart"}
    fold.crm("C1", street="Main St 1", city="Rome")
    assert fold.open
    fold.crm("C2", street="High St 9", city="Rome")
    assert fold.open == {}
    fold.crm("C2", street="Main Street 1")
    assert fold.open


def test_a_likeness_of_many_names_a_few_and_counts_the_rest() -> None:
    fold = CustomersFold()
    for n in range(200):
        fold.erp(f"C{n:03}", name=f"Shop {n}", tax_id="US100200300")
    sentence = fold.open["duplicate_customer:tax:US100200300"]
    assert sentence.count("Shop") == NAMED
    assert f"and {200 - NAMED} more have" in sentence
    assert len(sentence) < 400


def test_a_note_of_a_likeness_that_is_repeated_or_old_changes_nothing() -> None:
    fold = CustomersFold()
    fold.erp("C1", name="Acme")
    fold.erp("C1", name="Other")
    fold.erp("C2", name="Acme")
    assert fold.open == {}
    notes = [e for e in fold.said if isinstance(e, CustomerLikeness) and e.customer == "C1"]
    assert [(e.likeness, e.is_gone) for e in notes] == [("name:acme", False), ("name:acme", True), ("name:other", False)]
    assert [fold.apply(note) for note in notes] == ["AlreadyApplied"] * 3
    assert fold.open == {}

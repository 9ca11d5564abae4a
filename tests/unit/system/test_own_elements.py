from __future__ import annotations

from retrofit.system.own_elements import own_elements


def test_our_own_elements_are_found_in_a_checkout() -> None:
    assert own_elements().name == "elements"
    assert (own_elements() / "stock-archive").is_dir()
